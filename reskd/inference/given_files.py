"""Finds the videos that a user names, directly or by folder; folders are searched as for training."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dali_pipes.annotations.file_walk import count_of, named
from dali_pipes.annotations.list_text import read_text, split_lines
from dali_pipes.annotations.lists import read_list, videos_under


@dataclass
class GivenVideos:
    """Paths as given, or found below a given folder, each file once.

    Args:
        files: the files to scan.
        missing: (path, reason) of given paths that are neither files nor folders.
    """

    files: list[str] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)

    @staticmethod
    def of(paths: Sequence[str | Path], on_message: Callable[[str], None]) -> GivenVideos:
        """Collect files by name alone. A file that is named directly may have any suffix.

        Args:
            on_message: called with a sentence on what is left out of a folder, and one on files of several names.
        """
        given = GivenVideos()
        names: dict[str, str] = {}
        again: list[str] = []
        for given_path in paths:
            path = Path(given_path)
            if not str(given_path).strip():  # Path("") is the working directory
                given.missing.append((str(given_path), "an empty name"))
                continue
            if path.is_dir():
                found = [str(path / name) for name in videos_under(path, on_message)]
            elif path.is_file():
                found = [str(path)]
            else:
                given.missing.append((str(path), _why_missing(path)))
                continue
            for name in sorted(found, key=_is_link):  # so that a file is answered under its real name
                first = names.setdefault(os.path.realpath(name), name)
                again += [name] if first != name else []
        given.files = list(names.values())
        if again:
            on_message(f"{count_of(len(again), 'more name')} of files that are answered once ({named(again)})")
        return given


def listed_videos(path: Path, root: Path | None = None) -> list[str]:
    """The videos of a list of any form that training reads, or of a plain list with a path on each line.

    Args:
        root: folder that the paths are relative to; default: the list's.

    Raises:
        ValueError: no such file, or no list; names the line.
    """
    folder = path.parent if root is None else root
    if not path.is_file():
        raise ValueError(f"--list: expected a list of videos at {path}, found no file.")
    lines = [line.strip() for line in split_lines(read_text(path))]
    plain = [line for line in lines if line and not line.startswith("#")]
    if any((folder / line).is_file() for line in plain):  # the others are named where they are opened
        return [str(folder / line) for line in dict.fromkeys(plain)]
    return [str(folder / video.path) for video in read_list(folder, path.resolve())]


def _why_missing(path: Path) -> str:
    if path.exists():
        return "a pipe, socket or device, which cannot be read twice; save it as a file"
    return "a link to nothing" if path.is_symlink() else "no such file"


def _is_link(name: str) -> bool:
    return Path(name).is_symlink()
