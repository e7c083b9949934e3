"""Decoding with PyAV in a worker process: numpy and av only.

The scan counts frames with ``output_frames`` and the workers fetch them with it, so frame number i is the same
picture to both: place i in the output order of a decode from the first packet.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

# FFmpeg's names of AVColorSpace (H.273 matrix coefficients) as numbers. 5 and 6 are the same BT.601 matrix.
MATRIX_NAMES = {0: "rgb", 1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020"}
UNTAGGED = "untagged"
_MATRIX_OF_NAME = {
    "bt709": Colorspace.ITU709,
    "fcc": Colorspace.FCC,
    "bt601": Colorspace.ITU601,
    "smpte240m": Colorspace.SMPTE240M,
    "bt2020": getattr(Colorspace, "BT2020", None),  # PyAV 18 and newer; 17 runs on Python 3.10
}
RANGE_NAMES = {1: "limited", 2: "full"}


class ShortVideoError(ValueError):
    """A video ended, or could not be decoded, before the last wanted frame."""


def open_video_stream(container: av.container.InputContainer) -> VideoStream:
    """The stream that FFmpeg calls the best video stream, decoding in one thread.

    One thread, because with frame threads the frames before an error depend on the number of threads.

    Raises:
        ValueError: there is no video stream.
    """
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        raise ValueError("no video stream")
    stream.codec_context.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    return stream


def output_frames(container: av.container.InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Frames in the order the decoder puts them out, until the end.

    Raises:
        av.error.FFmpegError: at the first packet that does not decode; the frames before it are good.
    """
    for packet in container.demux(stream):
        yield from packet.decode()


def quarter_turns(frame: VideoFrame) -> int:
    """How many quarter turns counter-clockwise (0 to 3) bring the stored picture upright."""
    return round(frame.rotation / 90) % 4


def colours_of(frame: VideoFrame) -> tuple[Colorspace, ColorRange]:
    """Matrix and range of a frame; what is not tagged counts as BT.601, limited range, which is also what DALI takes.

    Raises:
        ValueError: this PyAV does not know the frame's matrix.
    """
    name = MATRIX_NAMES.get(int(frame.colorspace), UNTAGGED)
    matrix = _MATRIX_OF_NAME.get(name, Colorspace.ITU601)
    if matrix is None:
        raise ValueError(f"the colour matrix is {name}: expected PyAV 18 or newer for it, found {av.__version__}.")
    full = int(frame.color_range) == 2 or frame.format.name.startswith("yuvj")
    return matrix, ColorRange.JPEG if full else ColorRange.MPEG


def to_rgb(frame: VideoFrame, *, width: int, height: int) -> np.ndarray:
    """uint8 RGB of shape (height, width, 3), as stored (not turned).

    The frame's colours are those of ``colours_of``. A frame whose size differs from (width, height), as after a change
    in mid-stream, is resized to it.

    Raises:
        ValueError: this PyAV does not know the frame's matrix.
    """
    matrix, colour_range = colours_of(frame)
    picture = frame.reformat(
        width=width,
        height=height,
        format="rgb24",
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=colour_range,
        dst_color_range=ColorRange.JPEG,
        threads=1,
    )
    return picture.to_ndarray()


def decode_frames(
    path: str | Path,
    frame_index_T: np.ndarray,
    *,
    crop: tuple[int, int, int, int],
    rotation: int,
    width: int,
    height: int,
) -> np.ndarray:
    """The wanted frames of a video, upright and cropped.

    Args:
        path: video file.
        frame_index_T: wanted frame numbers; any order, repetitions allowed.
        crop: (y, x, height, width) in pixels of the upright picture.
        rotation: 0, 90, 180 or 270 degrees counter-clockwise from the stored picture to the upright one.
        width, height: of the stored picture, in pixels.

    Returns:
        uint8 RGB of shape (T, crop height, crop width, 3), contiguous.

    Raises:
        ShortVideoError: fewer frames than wanted, or an error before the last wanted one.
        av.error.FFmpegError: the file does not open.
    """
    wanted = {int(number) for number in frame_index_T}
    last = max(wanted)
    y, x, crop_height, crop_width = crop
    pictures: dict[int, np.ndarray] = {}
    count = 0
    with av.open(str(path)) as container:
        try:
            for number, frame in enumerate(output_frames(container, open_video_stream(container))):
                if number in wanted:
                    upright = np.rot90(to_rgb(frame, width=width, height=height), k=rotation // 90)
                    pictures[number] = upright[y : y + crop_height, x : x + crop_width].copy()
                count = number + 1
                if number == last:
                    break
        except av.error.FFmpegError as error:
            raise ShortVideoError(
                f"{path}: expected frame {last}, found an error after {count} frames: {error}."
            ) from error
    if count <= last:
        raise ShortVideoError(f"{path}: expected frame {last}, found only {count} frames; scan the file again.")
    return np.stack([pictures[int(number)] for number in frame_index_T])
