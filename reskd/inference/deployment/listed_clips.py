"""The clips of a list of videos, as the student sees them in a test, for calibrating and comparing exported models.

Shape letters: V test views, T frames, H W heights and widths, C = 3 colors.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dali_pipes.annotations.lists import read_list, videos_under
from reskd.inference.answers import VideoSettings
from reskd.inference.given_files import listed_videos
from reskd.inference.one_pass import read_in_order, views_rule
from reskd.inference.student import TrainedStudent


@dataclass(frozen=True)
class LabeledFile:
    """A file and the numbers of its classes."""

    file: str
    labels: frozenset[int]


class TestClips(NamedTuple):
    """The student's test views of one video: uint8 (V, T, H, W, 3), and bool (V, T), False for a repeated frame."""

    file: str
    frames_VTHWC: np.ndarray
    valid_VT: np.ndarray


def files_of(path: Path, root: Path | None, option: str) -> list[str]:
    """The videos of a list or a folder.

    Raises:
        ValueError: there is none; begins with the option's name.
    """
    if path.is_dir():
        found = [str(path / name) for name in videos_under(path, lambda message: None)]
    elif path.is_file():
        found = listed_videos(path, root)
    else:
        found = []
    if not found:
        raise ValueError(f"{option}: expected a list or a folder of videos at {path}, found none.")
    return found


def labeled_files_of(path: Path, root: Path | None, class_names: Sequence[str], option: str) -> list[LabeledFile]:
    """The videos of a list, or of a folder of class folders, with the numbers of their labels.

    Labels are names of the student's classes, or, if none is one, their numbers.

    Raises:
        ValueError: no list; a label is no class of the student; begins with the option's name.
    """
    if path.is_dir():
        folder, listed = path, read_list(path, "folders")
    elif path.is_file():
        folder = path.parent if root is None else root
        listed = read_list(folder, path.resolve())
    else:
        raise ValueError(f"{option}: expected a list of labeled videos at {path}, found none.")
    numbers = {name: number for number, name in enumerate(class_names)}
    labels = {label for video in listed for label in video.labels}
    if not labels & numbers.keys() and all(label.isdigit() for label in labels):
        numbers = {str(number): number for number in range(len(class_names))}
    unknown = sorted(labels - numbers.keys())
    if unknown:
        raise ValueError(
            f"{option}: expected labels that are classes of the student ({', '.join(class_names[:3])}, ...), found "
            f"{unknown[0]!r} in {path}; give a list of its classes."
        )
    return [
        LabeledFile(str(folder / video.path), frozenset(numbers[label] for label in video.labels)) for video in listed
    ]


def spread(files: Sequence[str], count: int) -> list[str]:
    """At most ``count`` of the files, evenly spread, as lists are often sorted by class."""
    if len(files) <= count:
        return list(files)
    return [files[number * len(files) // count] for number in range(count)]


def clips_of(
    student: TrainedStudent,
    files: Sequence[str],
    settings: VideoSettings,
    on_unread: Callable[[str, str], None],
) -> Iterator[TestClips]:
    """Read each file in one decode, in order.

    Args:
        on_unread: called with (file, reason) for a file without clips.

    Raises:
        ValueError: OpenCV does not support the student's resize.
    """
    rule = views_rule(student, settings)
    if rule is None:
        raise ValueError(
            "expected a student without antialias: true, and views of at most 256 MiB a video, for fp16 and int8; "
            "leave --precision out."
        )
    for file, found in read_in_order(files, rule):
        if found is None or found.frames_VTHWC is None or found.valid_VT is None:
            reason = "the decoder's process died" if found is None else found.error or found.video_info.health
            on_unread(file, reason.removeprefix("bad: "))
        else:
            yield TestClips(file, found.frames_VTHWC, found.valid_VT)


def shared_files(first: Sequence[str], second: Sequence[str]) -> int:
    """How many files are in both, by whatever name."""
    return len({os.path.realpath(file) for file in first} & {os.path.realpath(file) for file in second})
