"""Make the 400 videos of the results on ten classes of UCF101 from a copy of UCF101.

    python -m benchmarks.ucf10.make_ucf10 UCF-101 data/ucf10
    reskd study studies/ucf10_main.yaml 'settings={data.root: data/ucf10}'

UCF101 (https://www.crcv.ucf.edu/data/UCF101.php) has a folder for each class. files.csv beside this program names 40
videos of each of the first ten, with their part in the three official splits, size and sha256. 25 of them are cut at
768 KiB or 1 MiB, as the set that was measured is. Videos that are not there, or differ, are named.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dali_pipes.atomic_files import atomic_write_text
from reskd.cli import run_tool

FILES = Path(__file__).with_name("files.csv")
SPLITS = ("1", "2", "3")


class Video(NamedTuple):
    """A row of files.csv; ``parts``: train or test in each of the three splits."""

    path: str
    parts: tuple[str, ...]
    num_bytes: int
    sha256: str


def build_parser() -> argparse.ArgumentParser:
    """The parser; its help is this module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder of UCF101, with a folder for each class")
    parser.add_argument("out", type=Path, help="folder to write; what is there already is checked")
    return parser


def main(arguments: Sequence[str]) -> None:
    """Write the videos and the lists. Raises ValueError if some are missing or differ; the others are written."""
    chosen = build_parser().parse_args(arguments)
    if not chosen.source.is_dir():
        raise ValueError(f"expected the folder of UCF101 at {chosen.source}, found none.")
    chosen.out.mkdir(parents=True, exist_ok=True)
    videos = read_videos(FILES)
    faults = [fault for video in videos if (fault := make_video(video, chosen.source, chosen.out))]
    for split, number in enumerate(SPLITS):
        for part in ("train", "test"):
            names = [video.path for video in videos if video.parts[split] == part]
            atomic_write_text(chosen.out / f"split{number}_{part}.txt", "".join(f"{name}\n" for name in names))
    print(f"{chosen.out}: {len(videos) - len(faults)} of {len(videos)} videos are those of the results")
    if faults:
        raise ValueError("\n".join(faults))


def read_videos(path: Path) -> list[Video]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        Video(row["path"], tuple(row[f"split{number}"] for number in SPLITS), int(row["bytes"]), row["sha256"])
        for row in rows
    ]


def make_video(video: Video, source: Path, out: Path) -> str:
    """Copy the video, or its beginning, unless it is there. Returns what is wrong; "" if nothing is."""
    target = out / video.path
    if not target.exists():
        if not (source / video.path).is_file():
            return f"{video.path}: expected it under {source}, found none."
        with (source / video.path).open("rb") as file:
            content = file.read(video.num_bytes)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    found = hashlib.sha256(target.read_bytes()).hexdigest()
    if found != video.sha256:
        return f"{target}: expected sha256 {video.sha256[:16]}..., found {found[:16]}...: its results may differ."
    return ""


if __name__ == "__main__":
    sys.exit(run_tool(main))
