"""Find videos of equal content among listed ones: links to one file, and copies.

Only videos of equal size are looked into, and of these only such that the scan does not tell apart: first a few
samples, then the whole files. So a data set without copies costs one comparison of sizes and few reads.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dali_pipes.manifest.sources import locations_of, store_of
from dali_pipes.scan.scan import Location
from dali_pipes.scan.store import read_video_info
from dali_pipes.storage.frame_files import numbers_in
from dali_pipes.storage.frame_folders import FrameFolder
from dali_pipes.storage.shards import ShardMember
from dali_pipes.video_info import VideoInfo

if TYPE_CHECKING:
    from dali_pipes.config import DataConfig

_SAMPLE = 4096  # bytes, at the start, in the middle and at the end
_CHUNK = 1 << 20


class _Piece(NamedTuple):
    """A byte range of a local file."""

    file: str
    start: int
    size: int


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
    locations = locations_of(config, paths)
    if config.storage.kind == "frames" and len(video_info) < len(paths):
        stored = read_video_info(store_of(config))  # sizes of folders, without listing their files
        keys = {path: locations[path].key for path in paths}
        video_info = {path: stored[key] for path, key in keys.items() if key in stored} | dict(video_info)
    sizes = np.array([_size(locations[path], video_info.get(path)) for path in paths], np.int64)
    _, bucket, count = np.unique(sizes, return_inverse=True, return_counts=True)
    buckets: dict[int, list[str]] = defaultdict(list)
    for number in np.flatnonzero((count[bucket] > 1) & (sizes > 0)).tolist():
        buckets[int(bucket[number])].append(paths[number])
    found = [
        copies
        for same_size in buckets.values()
        for same_facts in _apart_by_scan(same_size, video_info)
        for copies in _of_equal_content(same_facts, locations)
    ]
    position = {path: number for number, path in enumerate(paths)} if found else {}
    return sorted(found, key=lambda copies: position[copies[0]])


def _size(location: Location, known: VideoInfo | None) -> int:
    """Bytes of a video; -1 if it cannot be read."""
    if known is not None:
        return known.file_size
    try:
        if isinstance(location, ShardMember):
            return location.size
        if isinstance(location, FrameFolder):
            return -1
        return os.stat(_file_of(location)).st_size  # noqa: PTH116
    except OSError:
        return -1


def _apart_by_scan(paths: Sequence[str], video_info: Mapping[str, VideoInfo]) -> list[list[str]]:
    """Take videos apart that differ in frames, width or height, if all were scanned in the same way."""
    known = {path: video_info.get(path) for path in paths}
    if len({found and found.num_frames_source for found in known.values()}) > 1:
        return [list(paths)]
    return _apart(paths, lambda path: (found := known[path]) and (found.num_frames, found.width, found.height))


def _of_equal_content(paths: Sequence[str], locations: Mapping[str, Location]) -> list[tuple[str, ...]]:
    """Sets of paths whose videos equal each other to the byte."""
    if len(paths) < 2:
        return []
    links_of = {links[0]: links for links in _apart(paths, lambda path: _identity(path, locations[path]))}
    groups = [list(links_of)]
    for digest in (_sample_digest, _whole_digest):
        groups = [
            part
            for group in groups
            for part in (_apart(group, partial(_digest, digest, locations)) if len(group) > 1 else [group])
        ]
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


def _digest(digest: Callable[[Sequence[_Piece]], bytes], locations: Mapping[str, Location], path: str) -> Hashable:
    try:
        return digest(_pieces(locations[path]))
    except OSError:
        return path


def _file_of(location: Location) -> str:
    return location.folder if isinstance(location, FrameFolder) else location.file  # type: ignore[attr-defined]


def _pieces(location: Location) -> list[_Piece]:
    """The byte ranges that hold a video; raises OSError for a missing file."""
    if isinstance(location, ShardMember):
        return [_Piece(location.file, location.start, location.size)]
    if isinstance(location, FrameFolder):
        sizes = numbers_in(Path(location.folder), location.template)
        names = [(f"{location.folder}/{location.template.format(number)}", number) for number in sorted(sizes)]
        return [_Piece(name, 0, sizes[number]) for name, number in names]
    file = _file_of(location)
    return [_Piece(file, 0, os.stat(file).st_size)]  # noqa: PTH116


def _sample_digest(pieces: Sequence[_Piece]) -> bytes:
    first, middle, last = pieces[0], pieces[len(pieces) // 2], pieces[-1]
    samples = (
        _Piece(first.file, first.start, min(first.size, _SAMPLE)),
        _Piece(middle.file, middle.start + middle.size // 2, min(middle.size - middle.size // 2, _SAMPLE)),
        _Piece(last.file, last.start + max(0, last.size - _SAMPLE), min(last.size, _SAMPLE)),
    )
    return _whole_digest(samples)


def _whole_digest(pieces: Iterable[_Piece]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for piece in pieces:
        digest.update(f"{piece.size};".encode())
        with open(piece.file, "rb", buffering=0) as file:  # noqa: PTH123 -- not a Path: there may be thousands
            file.seek(piece.start)
            left = piece.size
            while left > 0 and (data := file.read(min(left, _CHUNK))):
                digest.update(data)
                left -= len(data)
    return digest.digest()
