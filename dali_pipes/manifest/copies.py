"""Find videos of equal content among listed ones: links to one file, and copies.

Only videos of equal size are looked into, and of these only such with the same samples, which the scan has hashed. So
a data set without copies costs one comparison of numbers and no reading.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dali_pipes.manifest.sources import locations_of, store_of
from dali_pipes.scan.content_hash import UNKNOWN, Piece, sample_hash, whole_hash
from dali_pipes.scan.scan import Location
from dali_pipes.scan.store import read_video_info
from dali_pipes.storage.frame_folders import FrameFolder, pieces_of
from dali_pipes.storage.shards import ShardMember
from dali_pipes.video_info import VideoInfo

if TYPE_CHECKING:
    from dali_pipes.config import DataConfig


def find_copies(config: DataConfig, paths: Sequence[str], video_info: Mapping[str, VideoInfo]) -> list[tuple[str, ...]]:
    """Find sets of two paths or more whose videos have the same content, in the order of ``paths``.

    Videos in shards at a URL are not compared, nor are folders of frames that were never scanned. Missing, unreadable
    and empty files equal no other.

    Args:
        paths: listed paths, each once.
        video_info: what the scan found, for the paths that it has seen.
    """
    if config.storage.kind == "shards" and config.storage.url:
        return []
    video_info = _all_known(config, paths, video_info)
    unseen = [path for path in paths if path not in video_info]
    locations = dict(locations_of(config, unseen)) if unseen else {}
    sizes = [known.file_size if (known := video_info.get(path)) else _size(locations[path]) for path in paths]
    alike = _repeated(sizes)
    hashes = [known.content if (known := video_info.get(paths[number])) else UNKNOWN for number in alike]
    unhashed = [place for place, found in enumerate(hashes) if found == UNKNOWN]
    if unhashed:
        locations |= locations_of(config, [paths[alike[place]] for place in unhashed])
        for place in unhashed:
            hashes[place] = _sample_hash(locations[paths[alike[place]]])

    by_samples: dict[tuple[int, int], list[str]] = defaultdict(list)
    for place in _repeated(hashes):
        by_samples[sizes[alike[place]], hashes[place]].append(paths[alike[place]])
    same_samples = [same for same in by_samples.values() if len(same) > 1]
    if same_samples:
        locations |= locations_of(config, [path for same in same_samples for path in same])
    found = [copies for same in same_samples for copies in _of_equal_content(same, locations)]
    position = {path: number for number, path in enumerate(paths)} if found else {}
    return sorted(found, key=lambda copies: position[copies[0]])


def _all_known(
    config: DataConfig, paths: Sequence[str], video_info: Mapping[str, VideoInfo]
) -> Mapping[str, VideoInfo]:
    """Add stored facts of folders of frames, whose sizes cannot be found without listing their files."""
    if config.storage.kind != "frames" or len(video_info) == len(paths):
        return video_info
    stored = read_video_info(store_of(config))
    keys = {path: location.key for path, location in locations_of(config, paths).items()}
    return {path: stored[key] for path, key in keys.items() if key in stored} | dict(video_info)


def _size(location: Location) -> int:
    """Bytes of a video that was not scanned; 0 if it cannot be read."""
    try:
        if isinstance(location, ShardMember):
            return location.size
        if isinstance(location, FrameFolder):
            return 0
        return os.stat(_file_of(location)).st_size  # noqa: PTH116
    except OSError:
        return 0


def _repeated(numbers: Sequence[int]) -> list[int]:
    """Positions of the numbers above 0 that occur more than once."""
    values = np.array(numbers, np.int64)
    _, which, count = np.unique(values, return_inverse=True, return_counts=True)
    repeated: list[int] = np.flatnonzero((count[which] > 1) & (values > 0)).tolist()
    return repeated


def _sample_hash(location: Location) -> int:
    """Hash a few samples; UNKNOWN if the video cannot be read."""
    try:
        return sample_hash(_pieces(location))
    except OSError:
        return UNKNOWN


def _of_equal_content(paths: Sequence[str], locations: Mapping[str, Location]) -> list[tuple[str, ...]]:
    """Sets of paths whose videos equal each other to the byte."""
    links_of = {links[0]: links for links in _apart(paths, lambda path: _identity(path, locations[path]))}
    groups = [list(links_of)]
    if len(links_of) > 1:
        groups = _apart(links_of, lambda path: _whole(path, locations[path]))
    order = {path: number for number, path in enumerate(paths)}
    sets = [[path for first in group for path in links_of[first]] for group in groups]
    return [tuple(sorted(copies, key=order.__getitem__)) for copies in sets if len(copies) > 1]


def _apart(paths: Iterable[str], key: Callable[[str], Hashable]) -> list[list[str]]:
    groups: dict[Hashable, list[str]] = defaultdict(list)
    for path in paths:
        groups[key(path)].append(path)
    return list(groups.values())


def _identity(path: str, location: Location) -> Hashable:
    """Equal for links to one file."""
    if isinstance(location, ShardMember):
        return location.file, location.start
    try:
        status = os.stat(_file_of(location))  # noqa: PTH116
    except OSError:
        return path
    return status.st_dev, status.st_ino


def _whole(path: str, location: Location) -> Hashable:
    try:
        return whole_hash(_pieces(location))
    except OSError:
        return path


def _file_of(location: Location) -> str:
    return location.folder if isinstance(location, FrameFolder) else location.file  # type: ignore[attr-defined]


def _pieces(location: Location) -> list[Piece]:
    """The byte ranges that hold a video; raises OSError for a missing file, or a folder without frames."""
    if isinstance(location, ShardMember):
        return [Piece(location.file, location.start, location.size)]
    if isinstance(location, FrameFolder):
        return pieces_of(Path(location.folder), location.template)
    file = _file_of(location)
    return [Piece(file, 0, os.stat(file).st_size)]  # noqa: PTH116
