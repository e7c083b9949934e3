"""What is true about each video file: found out once, by a full decode, and kept (``dali_pipes.scan_store``).

Containers lie about the number of frames, and files are cut short; a wrong frame count becomes black frames or a
crash later (DALI), so the count is that of the frames that really came out.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import partial
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
from dali_pipes.isolated import map_isolated
from dali_pipes.packet_indexer import NotIndexableError, PacketIndexer
from dali_pipes.packets import PacketIndex
from dali_pipes.scan_store import FactsWriter, read_facts

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
        with av.open(str(path), options={} if decode else _NO_PROBING) as container:
            return _Reading(container, status, decode=decode).finish(path)
    except (av.error.FFmpegError, ValueError) as error:
        return Probed(_bad(status, f"does not open: {_one_line(error)}"))


class _Reading:
    """One pass over a file: every packet is noted, and decoded up to the first error (or the first frame)."""

    def __init__(self, container: av.container.InputContainer, status: os.stat_result, *, decode: bool) -> None:
        self._status = status
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

    def finish(self, path: str | Path) -> Probed:
        first, num_packets = self._first, self._indexer.num_packets
        if first is None:
            return Probed(
                _bad(self._status, f"no frame of codec {self._codec}: {self._error or 'the stream is empty'}")
            )
        try:
            to_rgb(first, width=first.width, height=first.height)
        except (av.error.FFmpegError, ValueError) as problem:
            return Probed(_bad(self._status, f"no RGB picture: {_one_line(problem)}"))
        num_frames, damage = self._count(num_packets)
        if not num_frames:
            return Probed(_bad(self._status, f"no whole frame: {'; '.join(damage)}"))
        index, whole_file = None, "it is cut or damaged"
        if not damage:
            try:
                with Path(path).open("rb") as file:
                    index = self._indexer.finish(file, self._frame_pts if self._decoded_all else None)
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
    size, mtime = (status.st_size, status.st_mtime_ns) if status else (0, 0)
    return FileFacts(0, 0, 0, 0, 0, "", "", UNTAGGED, UNTAGGED, size, mtime, f"bad: {reason}", whole_file="it is bad")


def _died(path: Path) -> FileFacts:
    return _bad(path.stat() if path.exists() else None, "the decoder's process died")


def _one_line(error: Exception) -> str:
    text = error.strerror if isinstance(error, av.error.FFmpegError) else str(error)
    return " ".join(str(text).split())


def scan(
    names: Sequence[str],
    *,
    root: Path,
    store: Path | None = None,
    num_workers: int = 2,
    decode: bool = True,
    on_progress: Callable[[int, int, int], None] | None = None,
) -> dict[str, FileFacts]:
    """Facts of every file by its name: what is stored, where size and time of change still match, else by ``probe``.

    Files are decoded in separate processes, so that one which kills its decoder is only a "bad" row. What is found is
    stored file by file; a scan that was killed goes on where it was.

    Args:
        names: paths of video files, from ``root``.
        root: folder.
        store: folder to read and add to; default ``default_store(root)``.
        num_workers: processes.
        decode: look into every frame; else what an index-only scan found is good enough too.
        on_progress: called with (files done, files to probe, bytes done) after each file that was not stored.

    Raises:
        ValueError: files are missing.
        OSError: the store cannot be written.
    """
    store = store or default_store(root)
    known = read_facts(store)
    facts: dict[str, FileFacts] = {}
    missing = []
    for name in names:  # strings, not Paths: a quarter of a million of those would take 20 s
        try:
            status = os.stat(os.path.join(root, name))  # noqa: PTH116, PTH118
        except OSError:
            missing.append(name)
            continue
        found = known.get(name)
        same = found and (found.file_size, found.mtime_ns) == (status.st_size, status.st_mtime_ns)
        if found and same and (found.num_frames_source == "decode" or not decode):
            facts[name] = found
    if missing:
        raise ValueError(
            f"expected the {len(names)} listed videos under {root}, found {len(missing)} of them missing; the first is "
            f"{missing[0]}; check data.root."
        )
    todo = [name for name in dict.fromkeys(names) if name not in facts]
    num_bytes = 0
    with FactsWriter(store) as writer:
        work, name_of = partial(probe, decode=decode), {root / name: name for name in todo}
        for done, (path, found_now) in enumerate(map_isolated(work, list(name_of), num_workers=num_workers), start=1):
            probed = found_now or Probed(_died(path))
            facts[name_of[path]] = writer.add(name_of[path], *probed)
            num_bytes += probed.facts.file_size
            if on_progress is not None:
                on_progress(done, len(todo), num_bytes)
    return facts


def default_store(root: Path) -> Path:
    """``root/.reskd_scan`` where that can be written, else a folder in the user's cache."""
    beside = root / STORE_NAME
    if os.access(beside if beside.exists() else root, os.W_OK):
        return beside
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    return Path.home() / ".cache" / "reskd" / name
