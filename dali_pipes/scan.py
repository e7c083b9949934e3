"""What is true about each video file: found out once, by a full decode, and kept (``dali_pipes.scan_store``).

Containers lie about the number of frames, and files are cut short; a wrong frame count becomes black frames or a
crash later (DALI), so the count is that of the frames that really came out.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.video.frame import VideoFrame

from dali_pipes.facts import FileFacts
from dali_pipes.host_decode import (
    MATRIX_NAMES,
    RANGE_NAMES,
    UNTAGGED,
    open_video_stream,
    quarter_turns,
    to_rgb,
)
from dali_pipes.packet_indexer import NotIndexableError, PacketIndexer
from dali_pipes.packets import PacketIndex
from dali_pipes.scan_store import FactsWriter, read_facts
from dali_pipes.worker_process import die_with_parent, main_module_hidden

STORE_NAME = ".reskd_scan"
# Opening a file, FFmpeg decodes some frames to learn what the first one says: half of the time of an index-only scan.
_NO_PROBING = {"probesize": "32", "analyzeduration": "0"}


class Probed(NamedTuple):
    facts: FileFacts
    packet_index: PacketIndex | None = None


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
    try:
        return _probe(path, status, decode=decode, strict=True)
    except (av.error.FFmpegError, ValueError) as error:
        return Probed(_bad(status, f"does not open: {_one_line(error)}"))


def _probe(path: str | Path, status: os.stat_result, *, decode: bool, strict: bool) -> Probed:
    with _complaints() as complaints, av.open(str(path), options={} if decode else _NO_PROBING) as container:
        reading = _Reading(container, status, decode=decode, strict=strict)
        if not (strict and reading.error):
            return reading.finish(path, complaints)
    return _probe(path, status, decode=decode, strict=False)


@contextmanager
def _complaints() -> Iterator[list[tuple[int, str, str]]]:
    """What FFmpeg logs as an error: (level, source, message). For pictures that are missing it does no more."""
    before = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as complaints:
            yield complaints
    finally:
        av.logging.set_level(before)


class _Reading:
    """One pass over a file: every packet is noted, and decoded up to the first error (or the first frame).

    A file in which a strict decoder finds an error is read again by one that is not, as clips of it will be. It gets no
    index, nor does one that FFmpeg complains about: what damaged packets give depends on what was decoded before.
    """

    def __init__(
        self, container: av.container.InputContainer, status: os.stat_result, *, decode: bool, strict: bool
    ) -> None:
        self._status = status
        self._strict = strict
        self._stream = stream = open_video_stream(container, strict=strict)
        self._codec = stream.codec_context.codec.canonical_name
        self._indexer = PacketIndexer(stream, self._codec)
        self._first: VideoFrame | None = None
        self._frame_pts: list[int | None] = []
        self._concealed: list[int] = []
        self.error = ""
        self._decoded_all = decode
        decoding = True
        try:
            for packet in container.demux(stream):
                if packet.size:
                    self._indexer.add(packet)
                if decoding:
                    decoding = self._decode(packet) and (decode or self._first is None)
        except av.error.FFmpegError as problem:
            self.error = self.error or _one_line(problem)

    def _decode(self, packet: av.Packet) -> bool:
        try:
            for frame in packet.decode():
                self._first = self._first or frame
                if frame.is_corrupt:
                    self._concealed.append(len(self._frame_pts))
                self._frame_pts.append(frame.pts)
        except av.error.FFmpegError as problem:
            self.error = _one_line(problem)
            return False
        return True

    def finish(self, path: str | Path, complaints: Sequence[tuple[int, str, str]]) -> Probed:
        first, num_packets = self._first, self._indexer.num_packets
        if first is None:
            return Probed(_bad(self._status, f"no frame of codec {self._codec}: {self.error or 'the stream is empty'}"))
        try:
            to_rgb(first, width=first.width, height=first.height)
        except (av.error.FFmpegError, ValueError) as problem:
            return Probed(_bad(self._status, f"no RGB picture: {_one_line(problem)}"))
        num_frames, damage = self._count(num_packets)
        if not num_frames:
            return Probed(_bad(self._status, f"no whole frame: {'; '.join(damage)}"))
        index, whole_file = None, ""
        if damage:
            whole_file = "it is cut or damaged"
        elif complaints or not self._strict:
            whole_file = f"the decoder finds errors in it: {' '.join(complaints[0][2].split()) if complaints else ''}"
        else:
            try:
                with Path(path).open("rb") as file:
                    index = self._indexer.finish(file, self._frame_pts if self._decoded_all else None)
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
                file_size=self._status.st_size,
                mtime_ns=self._status.st_mtime_ns,
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
            return num_packets - self._indexer.num_hidden, [self.error] if self.error else []
        num_frames = len(self._frame_pts)
        damage = [f"{self.error} after {num_frames} frames"] if self.error else []
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
    size, mtime = (status.st_size, status.st_mtime_ns) if status else (0, 0)
    return FileFacts(0, 0, 0, 0, 0, "", "", UNTAGGED, UNTAGGED, size, mtime, f"bad: {reason}", whole_file="it is bad")


def _one_line(error: Exception) -> str:
    text = error.strerror if isinstance(error, av.error.FFmpegError) else str(error)
    return " ".join(str(text).split())


def scan(
    paths: Sequence[Path],
    *,
    root: Path,
    store: Path | None = None,
    num_workers: int = 2,
    decode: bool = True,
    on_progress: Callable[[int, int, int], None] | None = None,
) -> dict[Path, FileFacts]:
    """Facts of every path: what is stored, where size and time of change still match, else by ``probe``.

    Files are decoded in separate processes, so that one which kills its decoder is only a "bad" row. What is found is
    stored file by file; a scan that was killed goes on where it was.

    Args:
        paths: video files.
        root: paths are stored relative to it.
        store: folder to read and add to; default ``default_store(root)``.
        num_workers: processes.
        decode: look into every frame; else what an index-only scan found is good enough too.
        on_progress: called with (files done, files to probe, bytes done) after each file that was not stored.

    Raises:
        OSError: a file is missing or unreadable, or the store cannot be written.
    """
    store = store or default_store(root)
    known = read_facts(store)
    facts: dict[Path, FileFacts] = {}
    for path in paths:
        found, status = known.get(key_of(path, root)), path.stat()
        same = found and (found.file_size, found.mtime_ns) == (status.st_size, status.st_mtime_ns)
        if found and same and (found.num_frames_source == "decode" or not decode):
            facts[path] = found
    todo = [path for path in dict.fromkeys(paths) if path not in facts]
    num_bytes = 0
    with FactsWriter(store) as writer:
        for done, (path, probed) in enumerate(_probe_all(todo, num_workers, decode=decode), start=1):
            facts[path] = writer.add(key_of(path, root), *probed)
            num_bytes += probed.facts.file_size
            if on_progress is not None:
                on_progress(done, len(todo), num_bytes)
    return {path: facts[path] for path in paths}


def _probe_all(paths: Sequence[Path], num_workers: int, *, decode: bool) -> Iterator[tuple[Path, Probed]]:
    """Probe in ``num_workers`` processes, in order of completion. At most so many files are under way at a time: they
    are the suspects if a process dies, and each is then tried again alone."""
    waiting = list(reversed(paths))
    while waiting:
        suspects: list[Path] = []
        with _pool(min(num_workers, len(waiting))) as pool:
            running: dict[Future[Probed], Path] = {}
            while (waiting or running) and not suspects:
                while waiting and len(running) < num_workers:
                    path = waiting.pop()
                    with main_module_hidden():
                        running[pool.submit(probe, path, decode=decode)] = path
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    path = running.pop(future)
                    try:
                        yield path, future.result()
                    except BrokenProcessPool:
                        suspects.append(path)
            suspects += running.values()
        for path in suspects:
            yield path, _probe_alone(path, decode=decode)


def _probe_alone(path: Path, *, decode: bool) -> Probed:
    with _pool(1) as pool:
        try:
            with main_module_hidden():
                return pool.submit(probe, path, decode=decode).result()
        except BrokenProcessPool:
            return Probed(_bad(path.stat() if path.exists() else None, "the decoder's process died"))


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
