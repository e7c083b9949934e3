"""Videos whose frames carry their number, so that a frame which is not the wanted one is seen for sure.

Shape letters: T frames, H W pixels, C colors.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from reskd.profiling.decode.standard_clips import Kind, encode

NUM_FRAMES = 120
# The number is burnt in as eight black or white squares along the top; it survives any codec.
BIT_SIDE, NUM_BITS = 24, 8


class Encoding(NamedTuple):
    """A way to encode.

    Args:
        codec: FFmpeg's name of what comes out.
        kind: its options are chosen so that pictures are stored in another order than shown, or hidden, wherever the
            codec can.
    """

    codec: str
    kind: Kind


def _x264(settings: str) -> Encoding:
    options = {"crf": "16", "preset": "veryfast", "x264-params": settings}
    return Encoding("h264", Kind("libx264", ".mp4", options))


def _x265(settings: str) -> Encoding:
    options = {"crf": "18", "preset": "veryfast", "x265-params": f"{settings}:log-level=1"}
    return Encoding("hevc", Kind("libx265", ".mp4", options))


def _vpx(codec: str, encoder: str, hidden: str) -> Encoding:
    speed = {"deadline": "good", "cpu-used": "5", "crf": "12", "b": "4M", "g": "24"}
    return Encoding(codec, Kind(encoder, ".webm", {**speed, "auto-alt-ref": hidden, "lag-in-frames": "16"}))


ENCODINGS: dict[str, Encoding] = {
    "h264 closed GOPs": _x264("keyint=12:min-keyint=12:scenecut=0:bframes=3:b-pyramid=normal"),
    "h264 open GOPs": _x264("keyint=24:min-keyint=24:scenecut=0:bframes=3:open-gop=1"),
    "h264 no B-frames": _x264("keyint=12:min-keyint=12:scenecut=0:bframes=0"),
    "h264 one keyframe": _x264("keyint=250:min-keyint=250:scenecut=0:bframes=3"),
    "hevc closed GOPs": _x265("keyint=12:min-keyint=12:scenecut=0:bframes=4:open-gop=0"),
    "hevc open GOPs": _x265("keyint=24:min-keyint=24:scenecut=0:bframes=4:open-gop=1"),
    "vp8 hidden frames": _vpx("vp8", "libvpx", "1"),
    "vp8": _vpx("vp8", "libvpx", "0"),
    "vp9 hidden frames": _vpx("vp9", "libvpx-vp9", "1"),
    "vp9": _vpx("vp9", "libvpx-vp9", "0"),
    "av1": Encoding("av1", Kind("libsvtav1", ".mp4", {"crf": "20", "preset": "8", "g": "24"})),
    "mjpeg": Encoding("mjpeg", Kind("mjpeg", ".avi", {"qmin": "2", "qmax": "2"}, "yuvj420p")),
}


def encodings_of(codec: str) -> dict[str, Encoding]:
    """The ways to encode a codec whose encoder PyAV has here, by name."""
    wanted = {name: encoding for name, encoding in ENCODINGS.items() if encoding.codec == codec}
    return {name: encoding for name, encoding in wanted.items() if encoding.kind.codec in av.codecs_available}


def write_counted(path: Path, encoding: Encoding, height: int, width: int, *, num_frames: int = NUM_FRAMES) -> None:
    """Encode ``counted_frames``."""
    encode(path, encoding.kind, counted_frames(height, width, num_frames), height=height, width=width)


def counted_frames(height: int, width: int, num_frames: int = NUM_FRAMES) -> Iterator[np.ndarray]:
    """Moving stripes under the number of each frame: uint8 (H, W, C) RGB, at most 256 frames."""
    y, x = np.mgrid[:height, :width]
    for number in range(num_frames):
        phases = (x + 2 * number, y - number, x + y + number)
        picture = np.stack([128 + 90 * np.sin(phase / 17) for phase in phases], axis=-1).astype(np.uint8)
        for bit in range(NUM_BITS):
            picture[:BIT_SIDE, bit * BIT_SIDE : (bit + 1) * BIT_SIDE] = 255 * (number >> bit & 1)
        yield picture


def read_count(picture_HWC: np.ndarray) -> int:
    """The number that a frame of unchanged size shows."""
    centers = [BIT_SIDE // 2 + bit * BIT_SIDE for bit in range(NUM_BITS)]
    return sum((int(picture_HWC[BIT_SIDE // 2, x].mean()) > 127) << bit for bit, x in enumerate(centers))
