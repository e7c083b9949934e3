"""Get a data set ready: python tools/prepare_data.py COMMAND ...

python tools/prepare_data.py import kinetics400 --annotations train.csv val.csv --videos VIDEOS --out LISTS
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dali_pipes.annotations.coverage import Coverage, describe_coverage, match
from dali_pipes.annotations.data_sets import DATA_SETS
from dali_pipes.annotations.video_files import VideoFiles
from dali_pipes.annotations.write_lists import config_lines, write_lists
from reskd.cli import run_tool


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_import(subparsers)
    chosen = parser.parse_args(arguments)
    chosen.run(chosen)


def _add_import(subparsers: Any) -> None:
    files = "\n".join(f"  {name}: {data_set.files}" for name, data_set in DATA_SETS.items())
    parser = subparsers.add_parser(
        "import",
        help="lists from the published annotations of a data set, with coverage",
        description="Writes train.csv, val.csv, test.csv, classes.txt and missing.csv into OUT, and says what is\n"
        f"missing and which lines a config needs. Annotation files:\n{files}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data_set", choices=sorted(DATA_SETS))
    parser.add_argument("--annotations", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument(
        "--videos", type=Path, required=True, help="folder of the videos, searched with all folders in it"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the lists, which is made")
    parser.add_argument(
        "--min-coverage",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="fail where a smaller share of a split's videos was found, e.g. 0.9; the lists are written all the same",
    )
    parser.set_defaults(run=_run_import)


def _run_import(chosen: argparse.Namespace) -> None:
    if not 0 <= chosen.min_coverage <= 1:
        raise ValueError(f"--min-coverage: expected a share from 0 to 1, e.g. 0.9, found {chosen.min_coverage:g}.")
    data_set = DATA_SETS[chosen.data_set]
    annotations = data_set.read(chosen.annotations)
    files = VideoFiles(chosen.videos)
    coverage = match(annotations, files)
    for line in (*annotations.remarks, *describe_coverage(coverage)):
        print(line)
    _refuse_nothing_found(coverage, files, chosen.videos)
    written = write_lists(annotations, coverage, chosen.out)
    print(f"written to {chosen.out}: {', '.join(path.name for path in written)}")
    print(f"\nfor a config:\n{config_lines(coverage, chosen.videos, chosen.out, flips=data_set.flips)}")
    _refuse_low_coverage(coverage, chosen.min_coverage)


def _refuse_nothing_found(coverage: Coverage, files: VideoFiles, root: Path) -> None:
    if any(coverage.found.values()):
        return
    wanted = [missing.video.names[0] for videos in coverage.missing.values() for missing in videos]
    if not wanted:
        raise ValueError("expected videos with labels, found none in the annotations; give the training list too.")
    raise ValueError(
        f"expected files such as {wanted[0]} with any suffix under {root}, found {files.num_files} videos but not one "
        f"that the annotations name; there are for example {', '.join(files.some_paths(3))}."
    )


def _refuse_low_coverage(coverage: Coverage, least: float) -> None:
    low = [f"{split} {coverage.share(split):.1%}" for split in coverage.splits() if coverage.share(split) < least]
    if low:
        raise ValueError(
            f"expected at least {least:.1%} of each split's videos (--min-coverage), found {', '.join(low)}; "
            "missing.csv names the others."
        )


if __name__ == "__main__":
    sys.exit(run_tool(main))
