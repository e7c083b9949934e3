"""Finds the files that a user names, directly or by folder, and sorts out those that hold no video after the scan."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dali_pipes.annotations.lists import VIDEO_SUFFIXES
from dali_pipes.video_info import VideoInfo

# FFmpeg decodes text files with these codecs, as pictures of a terminal.
_NO_FILMS = frozenset({"ansi", "bintext", "xbin", "idf"})


@dataclass
class GivenVideos:
    """Paths as given, or found below a given folder, each once.

    Args:
        files: the files to scan.
        found: those of ``files`` that a folder holds and whose suffix is not that of a video.
        missing: (path, reason) of given paths that do not exist.
        skipped: (path, reason) of files in folders that are not scanned.
    """

    files: list[str] = field(default_factory=list)
    found: set[str] = field(default_factory=set)
    missing: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    @staticmethod
    def of(paths: Sequence[str | Path]) -> GivenVideos:
        """Collect files by name alone; folders are searched at any depth."""
        given = GivenVideos()
        real_paths: set[str] = set()
        for path in map(Path, paths):
            if path.is_dir():
                given._add_folder(path, real_paths)
            elif path.exists():
                given._add(path, real_paths)
            else:
                given.missing.append((str(path), "no such file"))
        return given

    def _add_folder(self, folder: Path, real_paths: set[str]) -> None:
        for path in _files_below(folder):
            if any(part.startswith(".") for part in path.relative_to(folder).parts):
                self.skipped.append((str(path), "hidden"))
            elif not path.exists():
                self.skipped.append((str(path), "a link to nothing"))
            elif self._add(path, real_paths) and path.suffix.lower() not in VIDEO_SUFFIXES:
                self.found.add(str(path))

    def _add(self, path: Path, real_paths: set[str]) -> bool:
        real = os.path.realpath(path)
        if real in real_paths:
            return False
        real_paths.add(real)
        self.files.append(str(path))
        return True

    def why_no_video(self, file: str, video_info: VideoInfo) -> str:
        """The reason to skip a file that a folder holds; empty if it is to be answered, or reported as bad."""
        if file not in self.found:
            return ""
        if not video_info.usable:
            return video_info.health.removeprefix("bad: ")
        if video_info.codec in _NO_FILMS:
            return "a text"
        return "a single picture" if video_info.num_frames == 1 else ""


def _files_below(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir())
