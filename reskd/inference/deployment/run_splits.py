"""The videos that calibrate and compare versions of a student: a list of the user's, or a split of the student's run.

A run's folder holds ``splits.csv``, the split of each of its videos, so a user need not write a list.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dali_pipes.annotations.lists import LABEL_SEPARATOR
from dali_pipes.file_names import on_one_line
from reskd.inference.deployment.listed_clips import LabeledFile, files_of, labeled_files_of
from reskd.inference.student import TrainedStudent
from reskd.training.run_directory import RunDirectory

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class PrecisionLists:
    """Videos for the versions of a student.

    Args:
        run: folder of the run that trained the student.
        check: a list, or a folder of class folders, labeled; or the name of a split of the run. None: val, or test if
            the run has no val. A path of that name is given as ./val.
        calibration: a list or a folder, for int8; or the name of a split. None: train.
        root: folder of the paths; None: each list's own, and the run's data.root for its splits.
    """

    run: Path
    check: str | None = None
    calibration: str | None = None
    root: Path | None = None


class ChosenVideos(NamedTuple):
    """Videos, and what they are called in messages and tables."""

    name: str
    files: list[LabeledFile]


def checked_videos(student: TrainedStudent, lists: PrecisionLists) -> ChosenVideos:
    """The labeled videos on which versions are compared.

    Raises:
        ValueError: there is no such list or split, its videos are not here, or a label is no class of the student.
    """
    if lists.check is not None and lists.check not in SPLITS:
        path = Path(lists.check)
        files = labeled_files_of(path, lists.root, student.class_names, "--check")
        return ChosenVideos(on_one_line(path.name), files)
    return _of_run(student, lists, ("val", "test") if lists.check is None else (lists.check,), "--check")


def calibration_videos(student: TrainedStudent, lists: PrecisionLists) -> ChosenVideos:
    """The videos that set the ranges of activations; their labels are empty if they come from a list.

    Raises:
        ValueError: as ``checked_videos``.
    """
    if lists.calibration is not None and lists.calibration not in SPLITS:
        path = Path(lists.calibration)
        files = files_of(path, lists.root, "--calibration")
        return ChosenVideos(on_one_line(path.name), [LabeledFile(file, frozenset()) for file in files])
    return _of_run(student, lists, (lists.calibration or "train",), "--calibration")


def _of_run(student: TrainedStudent, lists: PrecisionLists, splits: tuple[str, ...], option: str) -> ChosenVideos:
    """The first of the splits that has videos."""
    data = student.config.clips
    if data.storage.kind != "videos":
        raise ValueError(
            f"{option}: expected a run on video files, found one on data.storage.kind {data.storage.kind}; give a list "
            "of video files."
        )
    table = RunDirectory(lists.run).splits
    if not table.is_file():
        raise ValueError(f"{option}: expected {table}, which reskd train writes, found no file; give a list of videos.")
    root = data.root if lists.root is None else lists.root
    found: Mapping[str, list[LabeledFile]] = {split: [] for split in splits}
    for split, video in _rows(table, root, student, option):
        found.get(split, []).append(video)
    filled = [split for split in splits if found[split]]
    if not filled:
        raise ValueError(f"{option}: expected videos of {' or '.join(splits)} in {table}, found none; give a list.")
    split = filled[0]
    missing = [video.file for video in found[split] if not Path(video.file).is_file()]
    if missing:
        raise ValueError(
            f"{option}: expected the {len(found[split])} videos of the run's split {split} under {root}, found "
            f"{len(found[split]) - len(missing)} (missing: {on_one_line(missing[0])}); give their folder as --root, or "
            "give a list."
        )
    return ChosenVideos(f"split {split} of the run", found[split])


def _rows(table: Path, root: Path, student: TrainedStudent, option: str) -> Iterator[tuple[str, LabeledFile]]:
    """(split, video) of each line; a video whose labels the student does not know is an error."""
    numbers = {name: number for number, name in enumerate(student.class_names)}
    text = table.read_bytes().decode("utf-8", "surrogateescape")
    for row in csv.DictReader(io.StringIO(text, newline="")):
        path, label, split = (row.get(column) or "" for column in ("path", "label", "split"))
        labels = label.split(LABEL_SEPARATOR)
        if not path or not numbers.keys() >= set(labels):
            raise ValueError(
                f"{option}: expected paths and classes of the student in {table}, found {path!r} with {label!r}; give "
                "a list of videos."
            )
        yield split, LabeledFile(str(root / path), frozenset(numbers[name] for name in labels))
