"""Assigns videos to record files and tells which files are done. A file is complete or missing.

``train-00003.csv``, beside ``train-00003.tfrecord``, holds the outcome of each of its videos. It is written last, so it
marks the file as done; a job that was stopped resumes with the files that have none.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from dali_pipes.annotations.lists import LabeledVideo
from dali_pipes.atomic_files import atomic_write_text

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Outcome:
    """The outcome of one video.

    Args:
        num_frames: in the record; 0: the video has no record.
        mean_error, max_error: quantization error over its frames: length of the difference over the vector's length.
        reason: why it is left out, or where it is cut; empty if it is complete.
    """

    path: str
    num_frames: int
    mean_error: float
    max_error: float
    reason: str = ""


@dataclass(frozen=True)
class RecordFile:
    """A record file to write: ``videos`` of one ``split``, in order."""

    split: str
    number: int
    videos: tuple[LabeledVideo, ...]

    def records(self, folder: Path) -> Path:
        return folder / f"{self.split}-{self.number:05d}.tfrecord"

    def outcomes(self, folder: Path) -> Path:
        return self.records(folder).with_suffix(".csv")

    def is_done(self, folder: Path) -> bool:
        return self.outcomes(folder).exists()


def plan_files(videos: Mapping[str, Sequence[LabeledVideo]], *, videos_per_file: int) -> list[RecordFile]:
    """Each split's videos in the order of its list, ``videos_per_file`` in each file."""
    return [
        RecordFile(split, number, tuple(videos[split][start : start + videos_per_file]))
        for split in SPLITS
        for number, start in enumerate(range(0, len(videos.get(split, ())), videos_per_file))
    ]


def write_outcomes(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the CSV atomically."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Outcome)])
    writer.writerows(astuple(outcome) for outcome in outcomes)
    atomic_write_text(path, text.getvalue(), errors="surrogateescape")


def read_outcomes(path: Path) -> list[Outcome]:
    """Read the file that ``write_outcomes`` wrote."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return [
            Outcome(
                row["path"], int(row["num_frames"]), float(row["mean_error"]), float(row["max_error"]), row["reason"]
            )
            for row in csv.DictReader(file)
        ]
