"""What is true about each video: found out once, by a full decode, and kept (``dali_pipes.scan_store``).

Containers lie about the number of frames, and files are cut short; a wrong frame count becomes black frames or a
crash later (DALI), so the count is that of the frames that really came out.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import av
import numpy as np
from av.video.frame import VideoFrame

from dali_pipes.facts import UNTAGGED, FileFacts
from dali_pipes.host_decode import (
    MATRIX_NAMES,
    RANGE_NAMES,
    open_video_stream,
    quarter_turns,
    to_rgb,
)
from dali_pipes.packet_indexer import NotIndexableError, PacketIndexer
from dali_pipes.packets import PacketIndex
from dali_pipes.scan_store import FactsWriter, read_facts
from dali_pipes.stretch import Stamp
from dali_pipes.worker_process import die_with_parent, main_module_hidden

STORE_NAME = ".reskd_scan"
# Opening a file, FFmpeg decodes some frames to learn what the first one says: half of the time of an index-only scan.
_NO_PROBING = {"probesize": "32", "analyzeduration": "0"}


class Probed(NamedTuple):
    facts: FileFacts
    packet_index: PacketIndex | None = None


class Place(Protocol):
    """Where a video lies, as the scan needs to know it."""

    @property
    def key(self) -> str:
        """Its name in the store."""
        ...

    def is_as(self, found: FileFacts) -> bool:
        """Whether stored facts are still those of this video."""
        ...

    def prober(self, *, decode: bool) -> Callable[[], Probed]:
        """What finds out the facts, in another process: can be pickled."""
        ...

    def bad(self, reason: str) -> FileFacts:
        """Facts of a video whose prober died."""
        ...


@dataclass(frozen=True)
class VideoFile:
    """A video in a local file of its own; raises OSError where it is missing."""

    path: Path
    key: str

    def is_as(self, found: FileFacts) -> bool:
        status = self.path.stat()
        return (found.file_size, found.mtime_ns) == (status.st_size, status.st_mtime_ns)

    def prober(self, *, decode: bool) -> Callable[[], Probed]:
        return partial(probe, self.path, decode=decode)

    def bad(self, reason: str) -> FileFacts:
        return _bad(self.path.stat() if self.path.exists() else None, reason)


def probe(path: str | Path, *, decode: bool = True) -> Probed:
    """Facts and packet index of one file. Damage is reported in ``health``, not raised.

    Args:
        decode: all of it; else the first frame alone, and the number of frames is that of the packets.
    """
    try:
        status = Path(path).stat()
    except OSError as error:
        return Probed(_bad(None, f"does not open: {error.strerror}"))
    if status.st_size == 0:
        return Probed(_bad(status, "the file is empty"))
    with Path(path).open("rb") as file:
        return _probe(str(path), file, Stamp(status.st_size, status.st_mtime_ns), decode=decode)


def probe_bytes(content: BinaryIO, stamp: Stamp, *, decode: bool, start: int) -> Probed:
    """As ``probe``, of a video that lies in memory; ``start`` is a fact about where it was found."""
    facts, index = _probe(content, content, stamp, decode=decode)
    return Probed(replace(facts, start=start), index)


def _probe(video: str | BinaryIO, content: BinaryIO, stamp: Stamp, *, decode: bool) -> Probed:
    """Args: ``video``, for FFmpeg to open; ``content``, the same bytes."""
    try:
        with av.open(video, "r", options={} if decode else _NO_PROBING) as container:
            return _Reading(container, stamp, decode=decode).finish(content)
    except (av.error.FFmpegError, ValueError) as error:
        return Probed(_bad_stamped(stamp, f"does not open: {_one_line(error)}"))


class _Reading:
    """One pass over a file: every packet is noted, and decoded up to the first error (or the first frame)."""

    def __init__(self, container: av.container.InputContainer, stamp: Stamp, *, decode: bool) -> None:
        self._stamp = stamp
        self._stream = stream = open_video_stream(container)
        self._codec = stream.codec_context.codec.canonical_name
        self._indexer = PacketIndexer(stream, self._codec)
        self._first: VideoFrame | None = None
        self._frame_pts: list[int | None] = []
        self._concealed: list[int] = []
        self._error = ""
        self._decoded_all = decode
        decoding = True
        try:
            for packet in container.demux(stream):
                if packet.size:
                    self._indexer.add(packet)
                if decoding:
                    decoding = self._decode(packet) and (decode or self._first is None)
        except av.error.FFmpegError as problem:
            self._error = self._error or _one_line(problem)

    def _decode(self, packet: av.Packet) -> bool:
        try:
            for frame in packet.decode():
                self._first = self._first or frame
                if frame.is_corrupt:
                    self._concealed.append(len(self._frame_pts))
                self._frame_pts.append(frame.pts)
        except av.error.FFmpegError as problem:
            self._error = _one_line(problem)
            return False
        return True

    def finish(self, content: BinaryIO) -> Probed:
        first, num_packets = self._first, self._indexer.num_packets
        if first is None:
            return Probed(
                _bad_stamped(self._stamp, f"no frame of codec {self._codec}: {self._error or 'the stream is empty'}")
            )
        try:
            to_rgb(first, width=first.width, height=first.height)
        except (av.error.FFmpegError, ValueError) as problem:
            return Probed(_bad_stamped(self._stamp, f"no RGB picture: {_one_line(problem)}"))
        num_frames, damage = self._count(num_packets)
        if not num_frames:
            return Probed(_bad_stamped(self._stamp, f"no whole frame: {'; '.join(damage)}"))
        index, whole_file = None, "it is cut or damaged"
        if not damage:
            try:
                index = self._indexer.finish(content, self._frame_pts if self._decoded_all else None)
                whole_file = ""
            except (NotIndexableError, OSError) as reason:
                whole_file = str(reason)
        return Probed(
            FileFacts(
                num_frames=num_frames,
                num_packets=num_packets,
                width=first.width,
                height=first.height,
                rotation=quarter_turns(first) * 90,
                codec=self._codec,
                pix_fmt=first.format.name,
                matrix=MATRIX_NAMES.get(int(first.colorspace), UNTAGGED),
                colour_range=RANGE_NAMES.get(int(first.color_range), UNTAGGED),
                file_size=self._stamp.size,
                mtime_ns=self._stamp.changed,
                health=f"cut: {'; '.join(damage)}" if damage else "ok",
                num_frames_source="decode" if self._decoded_all else "demux",
                variable_rate=_is_variable(self._frame_pts if self._decoded_all else self._indexer.time_stamps()),
                whole_file=whole_file,
            ),
            index,
        )

    def _count(self, num_packets: int) -> tuple[int, list[str]]:
        """How many frames can be used, and what is wrong."""
        if not self._decoded_all:
            return num_packets - self._indexer.num_hidden, [self._error] if self._error else []
        num_frames = len(self._frame_pts)
        damage = [f"{self._error} after {num_frames} frames"] if self._error else []
        if num_frames < num_packets - self._indexer.num_hidden:
            damage.append(f"{num_frames} frames out of {num_packets} packets")
        if num_frames + self._indexer.num_hidden < self._stream.frames:
            damage.append(f"{num_frames} frames, but the header says {self._stream.frames}")
        # FFmpeg's MPEG-4 decoder calls the last frame of packed streams concealed, and it is good.
        if self._concealed and self._concealed[0] < num_frames - 1:
            damage.append(f"the decoder made up parts of {len(self._concealed)} frames, first of {self._concealed[0]}")
            num_frames = self._concealed[0]
        return num_frames, damage


def _is_variable(time_stamps: Sequence[int | None]) -> bool:
    """Whether frames are unequally far apart, by more than the rounding of a container's clock."""
    known = np.array([stamp for stamp in time_stamps if stamp is not None], np.int64)
    steps = np.diff(known)
    return len(steps) > 0 and int(steps.max() - steps.min()) > 1


def _bad(status: os.stat_result | None, reason: str) -> FileFacts:
    return _bad_stamped(Stamp(status.st_size, status.st_mtime_ns) if status else Stamp(0, 0), reason)


def _bad_stamped(stamp: Stamp, reason: str) -> FileFacts:
    return FileFacts.bad(reason, size=stamp.size, mtime_ns=stamp.changed)


def _one_line(error: Exception) -> str:
    text = error.strerror if isinstance(error, av.error.FFmpegError) else str(error)
    return " ".join(str(text).split())


def scan(
    paths: Sequence[Path],
    *,
    root: Path,
    store: Path | None = None,
    places: Mapping[Path, Place] | None = None,
    num_workers: int = 2,
    decode: bool = True,
    on_progress: Callable[[int, int, int], None] | None = None,
) -> dict[Path, FileFacts]:
    """Facts of every video: what is stored, where size and time of change still match, else by ``probe`` or its like.

    Videos are decoded in separate processes, so that one which kills its decoder is only a "bad" row. What is found is
    stored file by file; a scan that was killed goes on where it was.

    Args:
        paths: video files, or whatever ``places`` tells where to find.
        root: paths are stored relative to it.
        store: folder to read and add to; default ``default_store(root)``.
        places: where each path's video lies; default: in a file of its own.
        num_workers: processes.
        decode: look into every frame; else what an index-only scan found is good enough too.
        on_progress: called with (files done, files to probe, bytes done) after each file that was not stored.

    Raises:
        OSError: a file is missing or unreadable, or the store cannot be written.
    """
    store = store or default_store(root)
    known = read_facts(store)
    places = places or {path: VideoFile(path, key_of(path, root)) for path in paths}
    facts: dict[Path, FileFacts] = {}
    for path in paths:
        found = known.get(places[path].key)
        if found and places[path].is_as(found) and (found.num_frames_source == "decode" or not decode):
            facts[path] = found
    todo = [(path, places[path]) for path in dict.fromkeys(paths) if path not in facts]
    num_bytes = 0
    with FactsWriter(store) as writer:
        for done, (path, probed) in enumerate(_probe_all(todo, num_workers, decode=decode), start=1):
            facts[path] = writer.add(places[path].key, *probed)
            num_bytes += probed.facts.file_size
            if on_progress is not None:
                on_progress(done, len(todo), num_bytes)
    return {path: facts[path] for path in paths}


_Todo = tuple[Path, Place]


def _probe_all(todo: Sequence[_Todo], num_workers: int, *, decode: bool) -> Iterator[tuple[Path, Probed]]:
    """Probe in ``num_workers`` processes, in order of completion. At most so many files are under way at a time: they
    are the suspects if a process dies, and each is then tried again alone."""
    waiting = list(reversed(todo))
    while waiting:
        suspects: list[_Todo] = []
        with _pool(min(num_workers, len(waiting))) as pool:
            running: dict[Future[Probed], _Todo] = {}
            while (waiting or running) and not suspects:
                while waiting and len(running) < num_workers:
                    path, place = waiting.pop()
                    with main_module_hidden():
                        running[pool.submit(place.prober(decode=decode))] = path, place
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    path, place = running.pop(future)
                    try:
                        yield path, future.result()
                    except BrokenProcessPool:
                        suspects.append((path, place))
            suspects += running.values()
        for path, place in suspects:
            yield path, _probe_alone(place, decode=decode)


def _probe_alone(place: Place, *, decode: bool) -> Probed:
    with _pool(1) as pool:
        try:
            with main_module_hidden():
                return pool.submit(place.prober(decode=decode)).result()
        except BrokenProcessPool:
            return Probed(place.bad("the decoder's process died"))


def _pool(num_workers: int) -> ProcessPoolExecutor:
    # spawn: forking a process that has threads (torch, DALI) can lock up.
    return ProcessPoolExecutor(
        num_workers, mp_context=get_context("spawn"), initializer=die_with_parent, initargs=(os.getpid(),)
    )


def default_store(root: Path) -> Path:
    """``root/.reskd_scan`` where that can be written, else a folder in the user's cache."""
    beside = root / STORE_NAME
    if os.access(beside if beside.exists() else root, os.W_OK):
        return beside
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    return Path.home() / ".cache" / "reskd" / name


def key_of(path: Path, root: Path) -> str:
    """The name of a file in the store."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
