"""Probe many videos in processes, once: the results are stored (``dali_pipes.scan.store``)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from dali_pipes.file_names import first_few
from dali_pipes.jobs.map_files import Engine, make_engine
from dali_pipes.scan.probe import Probed, bad_file, probe
from dali_pipes.scan.store import VideoInfoWriter, read_all_video_info
from dali_pipes.video_info import VideoInfo

STORE_NAME = ".reskd_scan"


class MissingVideosError(ValueError):
    """Listed videos that are not there.

    Attributes:
        names: of the missing ones, as listed.
    """

    def __init__(self, names: Sequence[str], *, num_listed: int, root: Path) -> None:
        self.names = list(names)
        super().__init__(
            f"expected the {num_listed} listed videos under {root}, found {len(names)} of them missing: "
            f"{first_few(names)}; check data.root."
        )


class Location(Protocol):
    """Where a video is stored: the interface that the scan needs."""

    @property
    def key(self) -> str:
        """The video's name in the store."""
        ...

    def is_unchanged(self, found: VideoInfo | None) -> bool:
        """Whether the stored info ``found``, if any, still applies; raises OSError if the video is missing."""
        ...

    def prober(self, *, decode: bool) -> Callable[[], Probed]:
        """A picklable function that finds the video info, in another process."""
        ...

    def bad(self, reason: str) -> VideoInfo:
        """Video info of a video whose prober died."""
        ...


@dataclass(frozen=True, slots=True)
class VideoFile:
    """A video in its own local file."""

    file: str  # not a Path: 250,000 of them would take 20 s
    key: str

    def is_unchanged(self, found: VideoInfo | None) -> bool:
        status = os.stat(self.file)  # noqa: PTH116
        return found is not None and (found.file_size, found.mtime_ns) == (status.st_size, status.st_mtime_ns)

    def prober(self, *, decode: bool) -> Callable[[], Probed]:
        return partial(probe, Path(self.file), decode=decode)

    def bad(self, reason: str) -> VideoInfo:
        path = Path(self.file)
        return bad_file(path.stat() if path.exists() else None, reason)


def video_files(root: Path, names: Sequence[str]) -> dict[str, Location]:
    """Locations of files, by their paths relative to ``root``."""
    prefix = os.path.join(root, "")  # noqa: PTH118 -- joining every name takes four times as long
    return {name: VideoFile(name if os.path.isabs(name) else f"{prefix}{name}", name) for name in names}  # noqa: PTH117


def scan(
    videos: Sequence[str] | Mapping[str, Location],
    *,
    root: Path,
    store: Path | None = None,
    engine: Engine | None = None,
    decode: bool = True,
    on_progress: Callable[[int, int, int], None] | None = None,
) -> dict[str, VideoInfo]:
    """Find the video info of every video, by name: from the store if the video is unchanged, else by probing it.

    Videos are decoded in separate processes, so a video that kills its decoder is only a "bad" row. Results are stored
    file by file, so a killed scan continues where it stopped.

    Args:
        videos: paths of files relative to ``root``; for other storage, locations by name in the list.
        root: folder of the videos.
        store: folder to read and add to; default ``default_store(root)``.
        engine: runs the probes; default: two processes of this machine.
        decode: decode every frame; if False, stored results of an index-only scan are accepted too.
        on_progress: called with (files done, files to probe, bytes done) before the first probed file and after each.

    Raises:
        MissingVideosError: files are missing; a ValueError.
        OSError: the store cannot be written.
    """
    store = store or default_store(root)
    locations = videos if isinstance(videos, Mapping) else video_files(root, videos)
    video_info, missing = _stored_facts(locations, read_all_video_info(store), decode=decode)
    if missing:
        raise MissingVideosError(missing, num_listed=len(videos), root=root)
    todo = [(name, location.prober(decode=decode)) for name, location in locations.items() if name not in video_info]
    num_bytes = 0
    engine = engine or make_engine("local")
    with VideoInfoWriter(store) as writer:
        if on_progress is not None and todo:
            on_progress(0, len(todo), 0)
        for done, ((name, _), found_now) in enumerate(engine(_call, todo), start=1):
            probed = found_now or Probed(locations[name].bad("the decoder's process died"))
            video_info[name] = writer.add(locations[name].key, *probed)
            num_bytes += probed.video_info.file_size
            if on_progress is not None:
                on_progress(done, len(todo), num_bytes)
    return video_info


def missing_videos(locations: Mapping[str, Location]) -> list[str]:
    """The names of the videos that are not there."""
    return _stored_facts(locations, {}, decode=False)[1]


def _stored_facts(
    locations: Mapping[str, Location], known: Mapping[str, Sequence[VideoInfo]], *, decode: bool
) -> tuple[dict[str, VideoInfo], list[str]]:
    """The stored video info that is still valid and sufficient, and the names of missing videos."""
    video_info: dict[str, VideoInfo] = {}
    missing = []
    for name, location in locations.items():
        try:
            found = latest_valid(location, known.get(location.key, ()), decode=decode)
        except OSError:
            missing.append(name)
            continue
        if found is not None:
            video_info[name] = found
    return video_info, missing


def latest_valid(location: Location, stored: Sequence[VideoInfo], *, decode: bool) -> VideoInfo | None:
    """The latest stored video info that still applies, and is of a full decode if ``decode``.

    Raises:
        OSError: the video is missing.
    """
    for found in (*reversed(stored), None):  # None: a missing video is noticed without any, too
        if location.is_unchanged(found) and found and (found.num_frames_source == "decode" or not decode):
            return found
    return None


def _call(named: tuple[str, Callable[[], Probed]]) -> Probed:
    return named[1]()


def default_store(root: Path) -> Path:
    """``root/.reskd_scan`` if it is writable, else a folder in the user's cache."""
    beside = root / STORE_NAME
    if os.access(beside if beside.exists() else root, os.W_OK):
        return beside
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    return Path.home() / ".cache" / "reskd" / name
