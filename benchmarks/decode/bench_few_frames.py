"""Time the reading of the k of T frames that a student sees in a test, with all T decoded or only these k.

    python -m benchmarks.decode.bench_few_frames ../shared/data/ucf10 --list split1_test.txt
    reskd profile decode --make data/bench --kinds h264-g12 h264-g250
    python -m benchmarks.decode.bench_few_frames data/bench/h264-g12 --list list.csv
    python -m benchmarks.decode.bench_few_frames data/bench/h264-g12 --list list.csv --selection first --k 1 4 16

This process does the work of one loader worker: it plans, reads, decodes, and renders the student's view of 112 pixels
from the teacher's of 224. Before the timing it checks that both methods give the same pixels. The two methods take
turns. Times are cpu times of all threads. Rows are appended to docs/results/bench_few_frames.csv.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from dali_pipes.choices import ClipFrameSelection
from reskd.cli import positive, run_tool
from reskd.profiling.measurement_rows import aligned, append_rows, describe_run

if TYPE_CHECKING:
    from benchmarks.decode.few_frames_decode import Row

CSV = Path("docs/results/bench_few_frames.csv")


def main(arguments: Sequence[str]) -> None:
    chosen = build_parser().parse_args(arguments)
    if max(chosen.k) > chosen.frames:
        raise ValueError(f"--k: expected at most --frames = {chosen.frames}, found {max(chosen.k)}.")
    import torch

    from benchmarks.decode.few_frames_decode import Sweep, measure_k
    from dali_pipes.config import DataConfig
    from dali_pipes.manifest.build import build_manifests

    with tempfile.TemporaryDirectory(prefix="reskd_few_frames_") as scratch:
        manifest = Path(scratch) / "manifest"
        config = DataConfig.model_validate(
            {
                "root": chosen.root,
                "train": chosen.list,
                "val_fraction": 0,
                "scan_cache": chosen.scan_cache or Path(scratch) / "scan",
                "views": {"student": {"size": 1, "source": "decoded"}},  # not used here, but a config needs views
            }
        )
        build_manifests(config, seed=0, splits=("train",))["train"].save(manifest)
        sweep = Sweep(chosen.k, chosen.frames, chosen.clips, chosen.rounds, chosen.selection)
        rows = measure_k(chosen.root.resolve().name, manifest, sweep)
    print(table(rows))
    if not chosen.dry_run:
        about = describe_run(torch.device("cpu"))
        append_rows(chosen.csv, [{**about, **asdict(row)} for row in rows])
        print(f"\nrows appended to {chosen.csv}")


def table(rows: Sequence[Row]) -> str:
    head = ("k", "of", "decoded", "cpu ms", "20 %", "80 %", "frames decoded", "amplification")
    lines: list[tuple[str, ...]] = [head]
    for row in rows:
        numbers = (row.cpu_ms, row.cpu_ms_p20, row.cpu_ms_p80, row.frames_decoded, row.amplification)
        lines.append((str(row.k), str(row.num_frames), row.decoded, *(f"{number:.1f}" for number in numbers)))
    return aligned(lines)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of videos")
    parser.add_argument("--list", default="folders", help="list of videos in ROOT; default: one folder per class")
    parser.add_argument("--scan-cache", type=Path, help="folder of the scan's results; default: nothing is kept")
    parser.add_argument("--frames", type=positive, default=16, help="frames T of a clip (default %(default)s)")
    parser.add_argument(
        "--k", type=positive, nargs="+", default=[1, 2, 4, 8, 16], help="numbers of frames that the student sees"
    )
    parser.add_argument("--selection", choices=get_args(ClipFrameSelection), default="uniform", help="which k frames")
    parser.add_argument(
        "--clips", type=positive, default=24, help="videos to time, spread evenly over the list (default %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=positive, default=5, help="timed turns per k and decoding method (default %(default)s)"
    )
    parser.add_argument("--csv", type=Path, default=CSV)
    parser.add_argument("--dry-run", action="store_true", help="print the results and append no rows")
    return parser


if __name__ == "__main__":
    sys.exit(run_tool(main))
