"""Find the files below a folder, through links, and what is not a file: for lists without a list."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from dali_pipes.file_names import first_few, on_one_line

_OWN_FOLDERS = (".reskd_scan",)
_MORE_BEHIND = re.compile(" (to|of|without|whose) ")  # then the first word takes the s


@dataclass
class FoundFiles:
    """What lies below one or several folders; paths are relative to the root of the search.

    Args:
        files: plain files and links to them, not hidden.
        hidden: files and folders whose names start with a dot, such as ``.DS_Store`` and ``._a.mp4`` of macOS.
        dangling: links to nothing.
        again: links to folders that are searched anyway, or that lie above the searched one.
        empty: folders with nothing in them.
        special: pipes, sockets and devices.
        unreadable: folders and links that the system refuses to open, with its reason.
    """

    files: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    dangling: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def add(self, other: FoundFiles) -> None:
        for name, found in vars(other).items():
            getattr(self, name).extend(found)

    def describe(self) -> list[str]:
        """Parts of a sentence on what was left out."""
        kinds = (
            ("hidden file", self.hidden),
            ("dangling link", self.dangling),
            ("link to a folder that is searched already", self.again),
            ("empty folder", self.empty),
            ("pipe, socket or device", self.special),
            ("unreadable folder", self.unreadable),
        )
        return [f"{count_of(len(found), kind)} ({named(found)})" for kind, found in kinds if found]


def count_of(number: int, noun: str) -> str:
    """ "1 file", "2 files", "2 labels without a video" """
    first, *rest = noun.split(" ", 1) if _MORE_BEHIND.search(noun) else (noun,)
    return f"{number} {' '.join([first + 's' * (number != 1), *rest])}"


def named(paths: Iterable[str]) -> str:
    """The first few paths."""
    return first_few(sorted(paths))


def describe_suffixes(paths: Iterable[str]) -> str:
    """Count files by suffix: "3 files with unknown suffixes (.txt 2, .json 1)"."""
    counts = Counter(PurePosixPath(path).suffix.lower() or "none" for path in paths)
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))  # the order of a folder's files is not fixed
    some = ", ".join(f"{on_one_line(suffix)} {count}" for suffix, count in most[:5])
    more = f", {len(counts) - 5} others" if len(counts) > 5 else ""
    kind = "an unknown suffix" if counts.total() == 1 else "unknown suffixes"
    return f"{count_of(counts.total(), 'file')} with {kind} ({some}{more})"


def files_below(root: Path, folder: str = "") -> FoundFiles:
    """Search ``root/folder`` at any depth. Linked folders are followed, each folder once, so links in a circle end.

    Args:
        folder: path relative to ``root``; "" is the root itself.
    """
    found = FoundFiles()
    start = os.path.join(root, folder)  # noqa: PTH118
    seen = {_identity(path) for path in (start, *map(str, Path(start).resolve().parents))}
    links = _search(str(root), [folder], seen, found)
    while links:  # after all real folders, so that a file is found under its real path
        linked = sorted(links)
        links = []
        for link in linked:
            identity = _identity(os.path.join(root, link))  # noqa: PTH118
            if identity in seen:
                found.again.append(link)
                continue
            seen.add(identity)
            links += _search(str(root), [link], seen, found)
    return found


def files_under(root: Path, is_wanted: Callable[[str], bool], on_message: Callable[[str], None]) -> list[str]:
    """Paths of the files below ``root`` that are wanted, relative to it and sorted.

    Args:
        is_wanted: takes a path; judges by its suffix.
        on_message: called with a sentence on what is left out, if there is anything.
    """
    found = files_below(root)
    others = [path for path in found.files if not is_wanted(path)]
    parts = ([describe_suffixes(others)] if others else []) + found.describe()
    if parts:
        on_message(f"{on_one_line(root)}: left out: {', '.join(parts)}")
    return sorted(path for path in found.files if is_wanted(path))


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116
    return status.st_dev, status.st_ino


def _search(root: str, folders: list[str], seen: set[tuple[int, int]], found: FoundFiles) -> list[str]:
    """Search folders and the real folders in them; returns the linked ones."""
    links: list[str] = []
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as entries:  # noqa: PTH118
                is_empty = True
                for entry in entries:
                    is_empty = False
                    _sort_in(entry, f"{folder}/{entry.name}" if folder else entry.name, folders, links, seen, found)
                if is_empty:
                    found.empty.append(folder or root)
        except OSError as error:
            found.unreadable.append(f"{folder or root}: {error.strerror}")
    return links


def _sort_in(
    entry: os.DirEntry[str],
    path: str,
    folders: list[str],
    links: list[str],
    seen: set[tuple[int, int]],
    found: FoundFiles,
) -> None:
    if entry.name.startswith("."):
        if entry.name not in _OWN_FOLDERS:
            found.hidden.append(path)
    elif entry.is_file(follow_symlinks=False):
        found.files.append(path)
    elif entry.is_dir(follow_symlinks=False):
        status = entry.stat(follow_symlinks=False)
        seen.add((status.st_dev, status.st_ino))
        folders.append(path)
    elif entry.is_symlink():
        try:
            mode = entry.stat().st_mode
        except FileNotFoundError:
            found.dangling.append(path)
        except OSError as error:  # a link to itself, or into a folder that may not be read
            found.unreadable.append(f"{path}: {error.strerror}")
        else:
            kind = links if stat.S_ISDIR(mode) else found.files if stat.S_ISREG(mode) else found.special
            kind.append(path)
    else:
        found.special.append(path)
