"""Re-encode one video file: small, upright, square pixels, BT.601, a keyframe every few frames.

Frame i of the new file is frame i of ``dali_pipes.decode.pyav.output_frames`` of the old one. Interlaced pictures stay
interlaced, and for HDR only the matrix is converted, not the transfer function.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream

from dali_pipes.atomic_files import move_into_place
from dali_pipes.choices import DEFAULT_QUALITY, PixelAspect, TranscodeCodec
from dali_pipes.decode.demux import packets_of
from dali_pipes.decode.picture_shape import PixelShape, container_aspect, orientation_of, pixel_shape_of
from dali_pipes.decode.pyav import ffmpeg_name, frames_of, open_video, open_video_stream
from dali_pipes.file_names import short_enough
from dali_pipes.scan.damage import DamageCheck
from dali_pipes.scan.probe import complaints_of, one_line, probe
from dali_pipes.transcode.frame_conversion import BT601_TAG, Target, output_size, render
from dali_pipes.video_info import VideoInfo

ENCODERS = {"h264": "libx264", "mjpeg": "mjpeg"}
_FINEST_TICK = 10_000  # ticks per second; coarser time bases are refined to it
# Errors of the machine: in writing, they would hit the next file too; in reading, a later try may succeed. EPERM is not
# among them, as decoders return -1 for any damage.
_NOT_THE_FILES_FAULT = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EMFILE, errno.ENOMEM)
)


@dataclass(frozen=True)
class OutputSettings:
    """Settings of the output files.

    Args:
        short_side: pixels; a smaller video keeps its size.
        gop: frames from one keyframe to the next; only for H.264.
        quality: CRF of H.264 (0 to 51), quantizer of MJPEG (2 to 31); lower is better.
        block: both sides are cut to multiples of this many pixels, evenly at both edges. 16 are a macroblock of H.264:
            DALI makes a new decoder on a GPU for each clip whose coded size differs from the shown one.
        pixel_aspect: as ``data.pixel_aspect``; the written pixels are square, so either setting then reads them alike.
    """

    codec: TranscodeCodec = "h264"
    short_side: int = 256
    gop: int = 4
    quality: int = DEFAULT_QUALITY["h264"]
    pixel_aspect: PixelAspect = "display"
    block: int = 16

    def __post_init__(self) -> None:
        if self.short_side < 16 or self.short_side % 2:
            raise ValueError(f"short side: expected an even number of 16 or more, found {self.short_side}.")
        if self.block < 2 or self.block % 2:
            raise ValueError(f"multiple of: expected an even number of 2 or more, found {self.block}.")
        if self.gop < 1:
            raise ValueError(f"gop: expected 1 or more frames, found {self.gop}.")
        low, high = {"h264": (0, 51), "mjpeg": (2, 31)}[self.codec]
        if not low <= self.quality <= high:
            raise ValueError(f"quality of {self.codec}: expected {low} to {high}, found {self.quality}.")
        if ENCODERS[self.codec] not in av.codecs_available:
            raise ValueError(
                f"expected an FFmpeg with the encoder {ENCODERS[self.codec]}, found PyAV {av.__version__} without it; "
                "install PyAV from a wheel, or choose another codec."
            )

    @property
    def keyframe_distance(self) -> int:
        return 1 if self.codec == "mjpeg" else self.gop

    @property
    def key(self) -> str:
        """Text of the settings in a record; a file with another key is written again."""
        gop = "" if self.codec == "mjpeg" else f" gop {self.gop}"
        stored = " stored pixels" if self.pixel_aspect == "stored" else ""
        return f"v2 {self.codec} short side {self.short_side} by {self.block}{gop} quality {self.quality}{stored}"


@dataclass(frozen=True)
class Reencoded:
    """``status``: "ok", "cut: ..." (used up to an error), "bad: ..." (no frame) or "failed: ..." (unreadable
    now, or the output is wrong). Without output, ``frames_out`` and ``bytes_out`` are 0."""

    frames_in: int
    frames_out: int
    bytes_out: int
    status: str


def reencode(source: Path, target: Path, settings: OutputSettings, *, max_frames: int | None = None) -> Reencoded:
    """Encode ``source`` to ``target``, whose folder exists; ``target`` is complete and checked, or absent.

    Raises:
        OSError: the disk is full, or ``target`` cannot be written.
    """
    part = target.with_name(short_enough(f".{target.name}.part"))
    try:
        reading = _Reading(is_strict=True, max_frames=max_frames)
        written = _write_or_failed(source, part, target, settings, reading)
        status = "ok"
        if max_frames is None and (reading.fault or written == (0, (0, 0))):
            # The scan's rule says how many frames are good, and they are read as it, and clips, read them.
            found = probe(source).video_info
            if not found.usable:
                return Reencoded(0, 0, 0, found.health)
            reading, status = _Reading(is_strict=False, max_frames=found.num_frames), found.health
            written = _write_or_failed(source, part, target, settings, reading)
        if isinstance(written, Reencoded):
            return written
        frames_in, size = written
        if frames_in == 0:
            return Reencoded(0, 0, 0, f"bad: {reading.fault or 'the stream is empty'}")
        video_info = probe(part).video_info
        problem = _what_is_wrong(video_info, frames_in, size)
        if problem:
            return Reencoded(frames_in, 0, 0, f"failed: {problem}")
        move_into_place(part, target)
    finally:
        part.unlink(missing_ok=True)
    return Reencoded(frames_in, video_info.num_frames, video_info.file_size, status)


def _write_or_failed(
    source: Path, part: Path, target: Path, settings: OutputSettings, reading: _Reading
) -> tuple[int, tuple[int, int]] | Reencoded:
    try:
        return _write(source, part, settings, reading)
    except (av.error.FFmpegError, ValueError) as error:
        _raise_if_not_the_files_fault(error, target)
        return Reencoded(0, 0, 0, f"failed: {one_line(error)}")


def _raise_if_not_the_files_fault(error: Exception, target: Path) -> None:
    if isinstance(error, av.error.FFmpegError) and error.errno in _NOT_THE_FILES_FAULT:
        raise OSError(
            f"{target} could not be written: {os.strerror(error.errno)}; free space or choose another folder, and run "
            "the same command again: finished files are kept."
        ) from error


def _what_is_wrong(video_info: VideoInfo, num_frames: int, size: tuple[int, int]) -> str:
    if video_info.health != "ok":
        return f"the written file is {video_info.health}"
    expected = (num_frames, *size, 0)
    found = (video_info.num_frames, video_info.width, video_info.height, video_info.rotation)
    return "" if expected == found else f"wrote frames, width, height, rotation {expected}, read {found}"


def _write(source: Path, part: Path, settings: OutputSettings, reading: _Reading) -> tuple[int, tuple[int, int]]:
    """Return (frames written, (width, height))."""
    pictures = islice(_pictures(source, settings, reading), reading.max_frames)
    first = next(pictures, None)
    if first is None:
        return 0, (0, 0)
    with av.open(ffmpeg_name(part), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = _add_stream(container, first, settings)
        container.mux(stream.encode(first))
        count = 1
        for picture in pictures:
            container.mux(stream.encode(picture))
            count += 1
        container.mux(stream.encode(None))
    return count, (first.width, first.height)


def _encoder_options(settings: OutputSettings) -> dict[str, str]:
    if settings.codec == "mjpeg":
        return {"qmin": str(settings.quality), "qmax": str(settings.quality)}
    # fastdecode (no CABAC, no deblocking): a third less decoding time for 6 % more bytes. One reference frame and no
    # B-frames: output order is decoding order, and a frame needs only the frames from its keyframe on.
    options = {"preset": "veryfast", "tune": "fastdecode", "crf": str(settings.quality), "g": str(settings.gop)}
    options |= {"keyint_min": str(settings.gop), "sc_threshold": "0", "bf": "0", "refs": "1", "a53cc": "0"}
    # The same bytes on every processor, for 0.5 % more of them. Without it, x264's macroblock tree with AVX-512 writes
    # other bytes for about one file in a hundred.
    return options | {"x264-params": "cpu-independent=1"}


def _add_stream(container: Any, first: VideoFrame, settings: OutputSettings) -> Any:
    stream = container.add_stream(ENCODERS[settings.codec], rate=25, options=_encoder_options(settings))
    context = stream.codec_context
    stream.width, stream.height, stream.pix_fmt = first.width, first.height, first.format.name
    context.thread_count = 1
    context.time_base = first.time_base
    context.sample_aspect_ratio = Fraction(1)
    context.colorspace, context.color_range = BT601_TAG, int(first.color_range)
    return stream


@dataclass
class _Reading:
    """How a source is read, and what is wrong with it.

    Args:
        is_strict: whether any damage is an error; a sound file gives the same frames either way.
        max_frames: the frames to read; None: all.
    """

    is_strict: bool
    max_frames: int | None
    fault: str = ""


def _pictures(source: Path, settings: OutputSettings, reading: _Reading) -> Iterator[VideoFrame]:
    """Yield the source's converted frames, up to its end or the first error, which is ``reading.fault``."""
    is_open = False
    try:
        with complaints_of() as complaints, source.open("rb") as content, open_video(source) as container:
            is_open = True
            stream = open_video_stream(container, strict=reading.is_strict)
            check = DamageCheck(container, stream, decoded=True)
            clock, of_container, target = _Clock(stream), container_aspect(stream), None
            for frame in frames_of(_observed(container, stream, check)):
                check.add_frame(frame)
                if target is None:
                    target = _target(frame, pixel_shape_of(stream, of_container), settings)
                picture = render(frame, target)
                picture.pts, picture.time_base = clock.ticks(frame.pts), clock.time_base
                yield picture
            reading.fault = "; ".join(check.judge(content, complaints).damage)
    except (av.error.FFmpegError, ValueError) as error:
        # Opening fails with such numbers for truncated headers, and for damaged ones that ask for gigabytes.
        if is_open and isinstance(error, av.error.FFmpegError) and error.errno in _NOT_THE_FILES_FAULT:
            raise ValueError(f"the source could not be read: {one_line(error)}") from error
        reading.fault = one_line(error)


def _observed(container: av.container.InputContainer, stream: VideoStream, check: DamageCheck) -> Iterator[av.Packet]:
    for packet in packets_of(container, stream):
        if packet.size:
            check.add_packet(packet)
        yield packet


def _target(first: VideoFrame, pixels: PixelShape, settings: OutputSettings) -> Target:
    """What the pictures of a video become, by its first frame."""
    orientation = orientation_of(first)
    shown = pixels if settings.pixel_aspect == "display" else PixelShape()
    size = output_size(first, orientation, shown, settings.short_side)
    return Target(*size, settings.block, orientation, ColorRange.JPEG if settings.codec == "mjpeg" else ColorRange.MPEG)


class _Clock:
    """Time of each frame since the first one, in strictly increasing whole ticks, as mp4 requires."""

    def __init__(self, stream: VideoStream) -> None:
        given = stream.time_base or Fraction(1, 25)
        self._factor = 1 if given <= Fraction(1, _FINEST_TICK) else -int(-given * _FINEST_TICK // 1)
        self.time_base = given / self._factor
        self._frame_ticks = max(1, round(1 / (stream.average_rate or 25) / self.time_base))
        self._first: int | None = None
        self._last = -1

    def ticks(self, pts: int | None) -> int:
        """Ticks of the next frame: without a timestamp, one mean frame later; if time goes back, one tick later."""
        if self._first is None:
            self._first = pts or 0
            self._last = 0
            return 0
        wanted = self._last + self._frame_ticks if pts is None else (pts - self._first) * self._factor
        self._last = max(wanted, self._last + 1)
        return self._last
