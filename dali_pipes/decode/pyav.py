"""Decode with PyAV in a worker process: numpy and av only.

Frame number i is index i in the output order of a decode from the first packet, both for the scan, which counts
frames, and for the workers. ``decode_frames`` decodes a whole file up to the last wanted frame, ``decode_packets`` only
the packets that the packet index selects; both give the same pixels.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from dali_pipes.decode.demux import packets_of
from dali_pipes.decode.picture_shape import upright
from dali_pipes.decode.playlists import SELF_CONTAINED, refuse_playlist
from dali_pipes.decode.progressive import as_progressive
from dali_pipes.decode.stream_choice import choose_video_stream
from dali_pipes.packets.packet_index import CODEC_TAG, Selection
from dali_pipes.video_info import UNTAGGED

# FFmpeg's names of AVColorSpace (H.273 matrix coefficients) as numbers. 5 and 6 are the same BT.601 matrix.
MATRIX_NAMES = {0: "rgb", 1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020"}
_MATRIX_OF_NAME = {
    "bt709": Colorspace.ITU709,
    "fcc": Colorspace.FCC,
    "bt601": Colorspace.ITU601,
    "smpte240m": Colorspace.SMPTE240M,
    "bt2020": getattr(Colorspace, "BT2020", None),  # PyAV 18 and newer; 17 runs on Python 3.10
}
RANGE_NAMES = {1: "limited", 2: "full"}


_TICK = Fraction(1, 25)  # unit of timestamps that are frame numbers


class ShortVideoError(ValueError):
    """A video ended, or could not be decoded, before the last wanted frame."""


class InexactError(ValueError):
    """The kept packets of a video did not give the expected frames; the whole file may."""


def ffmpeg_name(path: str | Path) -> str:
    """Name of a local file for FFmpeg, which would read ``12:30:05.mp4`` as a URL with the protocol 12."""
    name = os.fspath(path)
    return f"./{name}" if ":" in name.partition("/")[0] else name


def open_video(
    video: str | Path | BinaryIO, *, options: Mapping[str, str] | None = None
) -> av.container.InputContainer:
    """Open a video for reading; all readers of this project use this function.

    Titles and other texts of the file may be in any encoding: they are ignored, so they never make it bad. No other
    file is opened: neither those that a playlist lists, nor those that a name like ``img%d.jpg`` would stand for.

    Args:
        video: path of a local file, or an open file, which is read from its position.
        options: options of FFmpeg's demuxer.

    Raises:
        av.error.FFmpegError: the file does not open.
        ValueError: it is a playlist.
    """
    source = ffmpeg_name(video) if isinstance(video, str | Path) else video
    own = {"format_whitelist": SELF_CONTAINED, "protocol_whitelist": "file", "pattern_type": "none"}
    try:
        return av.open(source, "r", options={**own, **(options or {})}, metadata_errors="ignore")
    except (av.error.ArgumentError, av.error.InvalidDataError):
        refuse_playlist(video)
        raise


def open_video_stream(
    container: av.container.InputContainer, *, number: int | None = None, strict: bool = False
) -> VideoStream:
    """Choose the video stream to read, and set it to decode in one thread.

    With frame threads, the frames before an error would depend on the number of threads.

    Args:
        number: the stream's number in the file, as scanned; None: ``choose_video_stream`` chooses.
        strict: damage raises an error; otherwise much of it is concealed with previously decoded pictures.

    Raises:
        ValueError: there is no video stream, or none of this number.
    """
    stream = choose_video_stream(container) if number is None else _numbered(container, number)
    if strict:
        stream.codec_context.options = {"err_detect": "explode"}
    stream.codec_context.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    return stream


def _numbered(container: av.container.InputContainer, number: int) -> VideoStream:
    streams = container.streams
    stream = streams[number] if number < len(streams) else None
    if not isinstance(stream, VideoStream) or stream.codec_context is None:
        raise ValueError(f"expected a video as stream {number}, found {len(streams)} streams; scan the file again.")
    return stream


def output_frames(container: av.container.InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Decode all frames, in output order.

    Raises:
        av.error.FFmpegError: at the first packet that does not decode; the frames before it are good.
    """
    yield from frames_of(packets_of(container, stream))


def frames_of(packets: Iterable[av.Packet]) -> Iterator[VideoFrame]:
    """Decode the packets of a stream, in the order of the file.

    A recording cut from a stream may start between keyframes. Packets before its first keyframe that do not decode are
    passed over, as long as no frame has come out.

    Raises:
        av.error.FFmpegError: as ``output_frames``.
    """
    started, problem = False, None
    for packet in packets:
        started = started or packet.is_keyframe
        try:
            frames = packet.decode()
        except av.error.FFmpegError as error:
            if started:
                raise
            problem = error
            continue
        started = started or bool(frames)
        yield from frames
    if problem is not None and not started:
        raise problem


def color_names(frame: VideoFrame) -> tuple[str, str]:
    """Names of a frame's matrix and range, as ``VideoInfo`` has them."""
    matrix, color_range = int(frame.colorspace), int(frame.color_range)
    return MATRIX_NAMES.get(matrix, UNTAGGED), RANGE_NAMES.get(color_range, UNTAGGED)


def colors_of(frame: VideoFrame) -> tuple[Colorspace, ColorRange]:
    """Matrix and range of a frame; untagged ones count as BT.601, limited range, as in DALI.

    Raises:
        ValueError: this PyAV does not know the frame's matrix.
    """
    name, _ = color_names(frame)
    matrix = _MATRIX_OF_NAME.get(name, Colorspace.ITU601)
    if matrix is None:
        raise ValueError(f"the color matrix is {name}: expected PyAV 18 or newer for it, found {av.__version__}.")
    full = int(frame.color_range) == 2 or frame.format.name.startswith("yuvj")
    return matrix, ColorRange.JPEG if full else ColorRange.MPEG


def to_rgb(frame: VideoFrame, *, width: int, height: int, reformatter: VideoReformatter | None = None) -> np.ndarray:
    """Convert to uint8 RGB of shape (height, width, 3), as stored (not rotated).

    ``colors_of`` gives the frame's colors. A frame of another size than (width, height), as after a change within the
    stream, is resized to it.

    Args:
        reformatter: use the same one for all frames of a clip, as making one costs as much as converting a frame.

    Raises:
        ValueError: this PyAV does not know the frame's matrix.
    """
    matrix, color_range = colors_of(frame)
    picture = (reformatter or VideoReformatter()).reformat(
        as_progressive(frame),
        width=width,
        height=height,
        format="rgb24",
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=color_range,
        dst_color_range=ColorRange.JPEG,
        threads=1,
    )
    return picture.to_ndarray()


@dataclass(frozen=True)
class Window:
    """The wanted part of a frame.

    Args:
        crop: (y, x, height, width) in pixels of the upright picture.
        rotation, mirrored: from the stored picture to the upright one, see ``picture_shape.Orientation``.
        width, height: size of the stored picture, in pixels.
    """

    crop: tuple[int, int, int, int]
    rotation: int
    width: int
    height: int
    mirrored: bool = False
    _reformatter: VideoReformatter = field(default_factory=VideoReformatter, compare=False, repr=False)

    def cut(self, frame: VideoFrame) -> np.ndarray:
        """Crop: uint8 RGB (crop height, crop width, 3), upright; a view of a larger array."""
        return self.crop_stored(to_rgb(frame, width=self.width, height=self.height, reformatter=self._reformatter))

    def crop_stored(self, stored: np.ndarray) -> np.ndarray:
        """Crop a picture that ``to_rgb`` has converted: uint8 RGB (height, width, 3), as stored."""
        y, x, height, width = self.crop
        return upright(stored, self.rotation, mirrored=self.mirrored)[y : y + height, x : x + width]


def decode_frames(
    video: str | Path | BinaryIO, frame_index_T: np.ndarray, window: Window, *, stream: int | None = None
) -> list[np.ndarray]:
    """Decode the wanted frames of a video from its first packet on, upright and cropped.

    Args:
        video: path, or an open file.
        frame_index_T: indices of the wanted frames; any order, repeats allowed.
        stream: as ``number`` of ``open_video_stream``.

    Returns:
        T arrays of uint8 RGB (crop height, crop width, 3), views of larger arrays.

    Raises:
        ShortVideoError: the video has too few frames, or an error before the last wanted one.
        av.error.FFmpegError: the file does not open.
        ValueError: it is a playlist, or has no such stream.
    """
    wanted = {int(number) for number in frame_index_T}
    frames = enumerate(first_frames(video, max(wanted) + 1, stream=stream))
    pictures = {number: window.cut(frame) for number, frame in frames if number in wanted}
    return [pictures[int(number)] for number in frame_index_T]


def first_frames(video: str | Path | BinaryIO, num_frames: int, *, stream: int | None = None) -> Iterator[VideoFrame]:
    """Decode the first ``num_frames`` frames of a video, in output order; arguments and errors as ``decode_frames``."""
    count = 0
    with open_video(video) as container:
        try:
            opened = open_video_stream(container, number=stream)
            for frame in islice(output_frames(container, opened), num_frames):
                count += 1
                yield frame
        except av.error.FFmpegError as error:
            raise ShortVideoError(
                f"expected frame {num_frames - 1}, found an error after {count} frames: {error}."
            ) from error
    if count < num_frames:
        raise ShortVideoError(f"expected frame {num_frames - 1}, found only {count} frames; scan the file again.")


def decode_packets(
    codec_header: bytes, payloads: Sequence[bytes], selection: Selection, window: Window
) -> list[np.ndarray]:
    """Decode the wanted frames of a selection, upright and cropped.

    Args:
        codec_header: codec header of the video's index.
        payloads: the packets' bytes, as ``read_packets`` returns them.

    Returns:
        T arrays of uint8 RGB (crop height, crop width, 3), views of larger arrays.

    Raises:
        InexactError: the decoder failed, or did not output each kept frame once and undamaged.
    """
    wanted = set(selection.wanted_T.tolist())
    pictures: dict[int, np.ndarray] = {}
    decoded_pts = []
    with open_video(io.BytesIO(codec_header)) as container:
        try:
            stream = open_video_stream(container, strict=True)
            stream.codec_context.codec_tag = bytes.fromhex(stream.metadata[CODEC_TAG]).decode("ascii")
            for frame in _frames_of_packets(stream, payloads, selection):
                if frame.is_corrupt or frame.pts is None:
                    raise InexactError("a kept frame is corrupt or lacks its number.")
                decoded_pts.append(frame.pts)
                if frame.pts in wanted:
                    pictures[frame.pts] = window.cut(frame)
        except av.error.FFmpegError as error:
            raise InexactError(f"the kept packets do not decode: {error}.") from error
    if sorted(decoded_pts) != np.sort(selection.number_K).tolist():
        raise InexactError(f"expected {len(selection.number_K)} frames of the kept packets, found {len(decoded_pts)}.")
    return [pictures[number] for number in selection.wanted_T.tolist()]


def packet_of(data: bytes) -> av.Packet:
    """Make a packet with a copy of ``data``, padded with zeros.

    ``av.Packet(data)`` does not copy, and decoders read past the end of the bytes: AV_INPUT_BUFFER_PADDING_SIZE.
    """
    packet = av.Packet(len(data))
    packet.update(data)
    return packet


def _frames_of_packets(stream: VideoStream, payloads: Sequence[bytes], selection: Selection) -> Iterator[VideoFrame]:
    decoder = stream.codec_context
    for data, number, flush in zip(payloads, selection.number_K.tolist(), selection.flush_K.tolist(), strict=True):
        if flush:
            yield from decoder.decode(None)
            decoder.flush_buffers()
        packet = packet_of(data)
        packet.pts, packet.time_base = number, _TICK
        yield from decoder.decode(packet)
    yield from decoder.decode(None)
