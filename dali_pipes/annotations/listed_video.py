"""A line of a list, and what a whole list says."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dali_pipes.choices import ListReading

LABEL_SEPARATOR = "|"


@dataclass(frozen=True, slots=True)
class ListedVideo:
    """A line of a list.

    Args:
        labels: names or numbers, as written.
        group: None: the video is its own group.
        named: the labels are names even if they look like numbers, as with class folders.
    """

    path: str
    labels: tuple[str, ...]
    group: str | None = None
    named: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class ParsedList:
    """A list as it was read.

    Args:
        lines: line number of each video; empty if there are no lines, as with class folders.
        reading: how the list was read.
        remarks: sentences about the choice of the reading, and about what is left out.
        numbers: for UCF101's lists with numbers: class folder -> its number.
    """

    videos: list[ListedVideo]
    lines: Sequence[int] = ()
    reading: ListReading = "auto"
    remarks: tuple[str, ...] = ()
    numbers: Mapping[str, int] = field(default_factory=dict)

    def place(self, number: int) -> str:
        """Where a video is listed: ", line 7", or nothing."""
        return f", line {self.lines[number]}" if self.lines else ""


def plain_path(path: str) -> str:
    """The shortest spelling of a path: "./x/../a.mp4" -> "a.mp4"."""
    return posixpath.normpath(path) if "./" in path or "//" in path else path


def is_number(label: str) -> bool:
    """Whether a label is a class number."""
    return label.isascii() and label.isdigit()
