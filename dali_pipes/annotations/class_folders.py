"""List videos without a list: one folder per class, or all videos below a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from dali_pipes.annotations.file_walk import FoundFiles, count_of, describe_suffixes, files_below, files_under, named
from dali_pipes.annotations.listed_video import ListedVideo, ParsedList
from dali_pipes.annotations.video_suffixes import VIDEO_SUFFIXES
from dali_pipes.file_names import on_one_line

_SPLIT_NAMES = frozenset(("train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval"))


def read_class_folders(root: Path) -> ParsedList:
    """List the videos of ``root/<class>/``, at any depth and through links, in order.

    The remarks name and count what is left out.

    Raises:
        ValueError: there is no root folder.
        OSError: it cannot be read.
    """
    if not root.is_dir():
        there = "a file" if root.exists() else "nothing"
        raise ValueError(f"data.root: expected a folder with class folders, found {there} at {root}.")
    videos: list[ListedVideo] = []
    left_out, beside = FoundFiles(), FoundFiles()
    others: list[str] = []
    empty: list[str] = []
    for entry in sorted(root.iterdir()):
        if entry.name.startswith(".") or not entry.is_dir():
            _add_beside(beside, entry)
            continue
        found = files_below(root, entry.name)
        paths = sorted((path for path in found.files if is_video(path)), key=lambda path: path.split("/"))
        videos += [ListedVideo(path, (entry.name,), None, True) for path in paths]
        others += [path for path in found.files if not is_video(path)]
        found.empty = [path for path in found.empty if path != entry.name]
        left_out.add(found)
        if not paths and not found.unreadable:
            empty.append(f"class folder {entry.name!r} {'has no video' if found.files else 'is empty'}")
    left_out.add(FoundFiles(hidden=beside.hidden, dangling=beside.dangling))
    outside = [path for path in beside.files if is_video(path)]
    parts = [describe_suffixes(others)] if others else []
    parts += [f"{count_of(len(outside), 'video')} outside the class folders ({named(outside)})"] if outside else []
    parts += [*left_out.describe(), *empty]
    remarks = [f"{on_one_line(root)}: left out: {', '.join(parts)}"] if parts else []
    return ParsedList(videos, (), "folders", (*remarks, *_wrong_level(root, videos)))


def _add_beside(beside: FoundFiles, entry: Path) -> None:
    """Sort in what lies beside the class folders; lists and the scan's folder belong there."""
    if entry.name.startswith("."):
        beside.hidden += [] if entry.is_dir() else [entry.name]
    elif entry.is_symlink() and not entry.exists():
        beside.dangling.append(entry.name)
    else:
        beside.files.append(entry.name)


def _wrong_level(root: Path, videos: Sequence[ListedVideo]) -> list[str]:
    """Say so if the folders below ``root`` look like splits, or like folders of classes."""
    names = sorted({video.labels[0] for video in videos})
    splits = [name for name in names if name.lower() in _SPLIT_NAMES]
    if len(splits) > 1 or (splits and splits == names):
        return [
            f"{root}: the classes are called {', '.join(splits)}: data.root seems one level too high; set it to a "
            "folder whose folders are the classes"
        ]
    if videos and all(video.path.count("/") > 1 for video in videos):
        return [
            f"{root}: the class folders hold only folders, as in {videos[0].path}: if these are the classes, "
            "data.root is one level too high"
        ]
    return []


def is_video(path: str) -> bool:
    """Whether a name has the suffix of a video."""
    return PurePosixPath(path).suffix.lower() in VIDEO_SUFFIXES


def videos_under(root: Path, on_message: Callable[[str], None] = lambda message: None) -> list[str]:
    """Paths of all video files below ``root``, through links, relative to it and sorted.

    Args:
        on_message: called with a sentence on what is left out.

    Raises:
        ValueError: ``root`` is not a folder.
    """
    if not root.is_dir():
        raise ValueError(f"expected a folder with videos, found none at {root}.")
    return files_under(root, is_video, on_message)
