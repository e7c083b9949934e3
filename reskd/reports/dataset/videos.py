"""The videos of a data set's page: what the scan found, and their classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dali_pipes.manifest.manifest import ManifestRow
from dali_pipes.video_info import VideoInfo


class VideoSet(NamedTuple):
    """Videos to report on.

    Args:
        root: the folder that gives the page its title; paths are printed relative to it.
        video_info: of every video.
        labels: for each list by name, all labels of its videos, end to end.
        lists: files of the lists, relative to the root, for the command that transcodes.
        classes: of each video, as a list or its folder has them; a video that is not here has none.
    """

    root: Path
    video_info: Mapping[Path, VideoInfo]
    labels: Mapping[str, Sequence[str]]
    lists: Sequence[Path] = ()
    classes: Mapping[Path, Sequence[str]] = {}

    @property
    def usable(self) -> dict[Path, VideoInfo]:
        return {path: found for path, found in self.video_info.items() if found.usable}

    def name(self, path: Path) -> str:
        """The path as it is printed: relative to the root, where it lies there."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def row(self, path: Path) -> ManifestRow:
        """For a reader of clips."""
        return ManifestRow(path, 0, self.video_info[path])


def class_folders(names: Iterable[str]) -> dict[str, list[str]]:
    """The folder of each video as its label, for ``VideoSet.labels``; nothing if no video lies in a folder.

    Args:
        names: paths relative to the root.
    """
    folders = [name.partition("/")[0] if "/" in name else "" for name in names]
    return {"class folders": [folder or "(no folder)" for folder in folders]} if any(folders) else {}


def folder_of(name: str) -> tuple[str, ...]:
    """The class folder of a path relative to the root, as a tuple; empty if it lies in none."""
    return (name.partition("/")[0],) if "/" in name else ()
