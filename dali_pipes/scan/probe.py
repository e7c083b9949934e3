"""Find the video info of one file by a full decode, or by counting packets.

Containers may give a wrong number of frames, and files may be truncated. A wrong count later causes black frames or a
crash (DALI), so decoded frames are counted.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from dali_pipes.decode.demux import packets_of
from dali_pipes.decode.picture_shape import PixelShape, container_aspect, orientation_of, pixel_shape_of
from dali_pipes.decode.pyav import color_names, frames_of, open_video, open_video_stream, to_rgb
from dali_pipes.decode.stream_choice import depends_on_probing
from dali_pipes.packets.index_builder import NotIndexableError, PacketIndexer
from dali_pipes.packets.packet_index import PacketIndex
from dali_pipes.scan.content_hash import sample_hash_of
from dali_pipes.scan.damage import NO_PROBING, Complaints, DamageCheck, FirstError
from dali_pipes.video_info import Stamp, VideoInfo


class Probed(NamedTuple):
    video_info: VideoInfo
    packet_index: PacketIndex | None = None


class FrameKeeper(Protocol):
    """Takes the frames of a scan as they are decoded; it raises nothing."""

    def begin(self) -> None:
        """A reading starts; one that ends in an error is followed by another."""
        ...

    def add(self, frame: VideoFrame, pixels: PixelShape) -> None:
        """Take the next frame; ``pixels`` is the shape of the first frame's."""
        ...


def probe(path: str | Path, *, decode: bool = True, keep: FrameKeeper | None = None) -> Probed:
    """Find the video info and packet index of one file. Damage is reported in ``health``, not raised.

    Args:
        decode: whether to decode all frames; otherwise only the first is decoded, and packets are counted.
        keep: gets every decoded frame.
    """
    try:
        status = Path(path).stat()
    except OSError as error:
        return Probed(bad_file(None, f"does not open: {error.strerror}"))
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would block forever
        return Probed(bad_file(status, "it is not a regular file"))
    if status.st_size == 0:
        return Probed(bad_file(status, "the file is empty"))
    try:
        with Path(path).open("rb") as file:
            return _probe(str(path), file, Stamp(status.st_size, status.st_mtime_ns), decode=decode, keep=keep)
    except OSError as error:
        return Probed(bad_file(status, f"does not open: {error.strerror}"))


def probe_bytes(content: BinaryIO, stamp: Stamp, *, decode: bool, start: int) -> Probed:
    """Like ``probe``, for a video in memory; ``start`` is its byte offset in the shard."""
    video_info, index = _probe(content, content, stamp, decode=decode)
    return Probed(replace(video_info, start=start), index)


def _probe(
    video: str | BinaryIO, content: BinaryIO, stamp: Stamp, *, decode: bool, keep: FrameKeeper | None = None
) -> Probed:
    """``video`` is opened by FFmpeg; ``content`` has the same bytes."""
    try:
        return _read(video, content, stamp, decode=decode, keep=keep)
    except (av.error.FFmpegError, ValueError) as error:
        return Probed(bad_stamped(stamp, f"does not open: {one_line(error)}"))


def _read(video: str | BinaryIO, content: BinaryIO, stamp: Stamp, *, decode: bool, keep: FrameKeeper | None) -> Probed:
    """Read with a strict decoder; if it finds an error, read again with a lenient one, as clips are read."""
    first_error = None
    for strict in (True, False):
        with complaints_of() as complaints, _open(video, content, quick=strict and not decode) as container:
            if keep is not None:
                keep.begin()
            reading = _Reading(container, stamp, decode=decode, strict=strict, keep=keep)
            if not strict or not reading.check.error:
                return reading.finish(content, complaints, first_error)
        message = complaints[-1][2] if complaints else reading.check.error
        first_error = FirstError(reading.check.num_frames, " ".join(message.split()))
    raise AssertionError("the second reading returns")


def _open(video: str | BinaryIO, content: BinaryIO, *, quick: bool) -> av.container.InputContainer:
    """Open; if ``quick``, with little probing, unless another stream might then be chosen."""
    content.seek(0)
    if not quick:
        return open_video(video)
    container = open_video(video, options=NO_PROBING)
    if not depends_on_probing(container):
        return container
    container.close()
    content.seek(0)
    return open_video(video)


@contextmanager
def complaints_of() -> Iterator[list[tuple[int, str, str]]]:
    """Capture FFmpeg's error log: (level, source, message). Missing pictures are reported only there.

    Repeated messages are kept apart: otherwise PyAV reports their number while the next file is read.
    """
    before = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture() as complaints:
            yield complaints
    finally:
        av.logging.set_level(before[0])
        av.logging.set_skip_repeated(before[1])


class _Reading:
    """One pass over a file: every packet is indexed, and decoded up to the first error (or the first frame).

    If a strict decoder finds an error, a lenient one reads the file again, as it will read clips. Such a file gets no
    index, and neither does one with logged errors: frames of damaged packets depend on what was decoded before.
    """

    def __init__(
        self,
        container: av.container.InputContainer,
        stamp: Stamp,
        *,
        decode: bool,
        strict: bool,
        keep: FrameKeeper | None = None,
    ) -> None:
        self._stamp = stamp
        self._strict = strict
        stream = open_video_stream(container, strict=strict)
        self._stream_number = stream.index
        self._num_video_streams = len(container.streams.video)
        self._context = stream.codec_context
        self._of_container, self._pixels = container_aspect(stream), PixelShape()
        self._codec = stream.codec_context.codec.canonical_name
        self._indexer = PacketIndexer(stream, self._codec)
        self._first: VideoFrame | None = None
        self._frame_pts: list[int | None] = []
        self._decoded_all = decode
        self.check = DamageCheck(container, stream, decoded=decode)
        packets = self._packets(container, stream)
        try:
            for frame in frames_of(packets):
                if self._first is None:
                    self._first, self._pixels = frame, pixel_shape_of(stream, self._of_container)
                if keep is not None:
                    keep.add(frame, self._pixels)
                self.check.add_frame(frame)
                self._frame_pts.append(frame.pts)
                if not decode:
                    break
        except av.error.FFmpegError as problem:
            self.check.error = one_line(problem)
        try:
            for _ in packets:  # those after an error, or the first frame
                pass
        except av.error.FFmpegError as problem:
            self.check.error = self.check.error or one_line(problem)

    def _packets(self, container: av.container.InputContainer, stream: VideoStream) -> Iterator[av.Packet]:
        for packet in packets_of(container, stream):
            if packet.size:
                self._indexer.add(packet)
                self.check.add_packet(packet)
            yield packet

    def finish(self, content: BinaryIO, complaints: Complaints, first_error: FirstError | None) -> Probed:
        first, num_packets = self._first, self._indexer.num_packets
        if first is None:
            return Probed(
                bad_stamped(
                    self._stamp, f"no frame of codec {self._codec}: {self.check.error or 'the stream is empty'}"
                )
            )
        try:
            _check_converts(first)
        except (av.error.FFmpegError, ValueError) as problem:
            return Probed(bad_stamped(self._stamp, f"no RGB picture: {one_line(problem)}"))
        num_frames, damage, peculiarity = self.check.judge(content, complaints, first_error)
        if not num_frames:
            return Probed(bad_stamped(self._stamp, f"no whole frame: {'; '.join(damage)}"))
        index, whole_file, orientation = None, "", orientation_of(first)
        matrix, color_range = color_names(first)
        if damage:
            whole_file = "it is truncated or damaged"
        elif peculiarity:
            whole_file = peculiarity
        elif complaints or not self._strict:
            whole_file = f"the decoder finds errors in it: {' '.join(complaints[0][2].split()) if complaints else ''}"
        else:
            try:
                frame_pts = self._frame_pts if self._decoded_all else None
                index = self._indexer.finish(content, frame_pts, interlaced=first.interlaced_frame)
            except (NotIndexableError, OSError) as reason:
                whole_file = str(reason)
        return Probed(
            VideoInfo(
                num_frames=num_frames,
                num_packets=num_packets,
                width=first.width,
                height=first.height,
                rotation=orientation.rotation,
                codec=self._codec,
                pix_fmt=first.format.name,
                matrix=matrix,
                color_range=color_range,
                file_size=self._stamp.size,
                mtime_ns=self._stamp.changed,
                health=f"cut: {'; '.join(damage)}" if damage else "ok",
                num_frames_source="decode" if self._decoded_all else "demux",
                variable_rate=_is_variable(self._frame_pts if self._decoded_all else self._indexer.time_stamps()),
                whole_file=whole_file,
                mirrored=orientation.mirrored,
                pixel_width=self._pixels.width,
                pixel_height=self._pixels.height,
                stream=self._stream_number,
                num_video_streams=self._num_video_streams,
                notes="; ".join(note for note in (orientation.note, self._pixels.note) if note),
                content=sample_hash_of(content, self._stamp.size),
                coded_width=self._context.coded_width,
                coded_height=self._context.coded_height,
                interlaced=self._indexer.is_interlaced(),
            ),
            index,
        )


# Kinds of pictures already converted once: making a converter takes a quarter of an index-only scan's time.
_CONVERTED: set[tuple[str, int, int, int, int]] = set()


def _check_converts(frame: VideoFrame) -> None:
    """Raise FFmpegError or ValueError if frames like this one cannot be converted to RGB."""
    kind = (frame.format.name, int(frame.colorspace), int(frame.color_range), frame.width, frame.height)
    if kind not in _CONVERTED:
        to_rgb(frame, width=frame.width, height=frame.height)
        _CONVERTED.add(kind)


def _is_variable(time_stamps: Sequence[int | None]) -> bool:
    """Whether the frame intervals differ by more than the rounding of a container's clock."""
    known = np.array([stamp for stamp in time_stamps if stamp is not None], np.int64)
    steps = np.diff(known)
    return len(steps) > 0 and int(steps.max() - steps.min()) > 1


def bad_file(status: os.stat_result | None, reason: str) -> VideoInfo:
    """Video info of a file without a decodable frame."""
    return bad_stamped(Stamp(status.st_size, status.st_mtime_ns) if status else Stamp(0, 0), reason)


def bad_stamped(stamp: Stamp, reason: str) -> VideoInfo:
    return VideoInfo.bad(reason, size=stamp.size, mtime_ns=stamp.changed)


def one_line(error: Exception) -> str:
    """An error's message without line breaks; for FFmpeg's errors, without the file name."""
    text = error.strerror if isinstance(error, av.error.FFmpegError) else str(error)
    return " ".join(str(text).split())
