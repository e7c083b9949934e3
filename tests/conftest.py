"""Clips for tests: made with PyAV, each frame showing its own number and a test pattern."""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

NUM_BITS = 6
HEIGHT, WIDTH = 96, 128
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

# codec -> (file suffix, pixel format, options that keep encoding quick and the picture clean)
ENCODERS: Mapping[str, tuple[str, str, dict[str, str]]] = {
    "libx264": (".mp4", "yuv420p", {"crf": "12", "preset": "veryfast", "g": "12", "bf": "2"}),
    "libvpx-vp9": (".webm", "yuv420p", {"crf": "10", "b": "0", "deadline": "realtime", "cpu-used": "8", "g": "12"}),
    "mjpeg": (".avi", "yuvj420p", {"qmin": "2", "qmax": "2"}),
    "mpeg4": (".avi", "yuv420p", {"qmin": "2", "qmax": "2", "g": "12"}),
}


def picture(number: int, *, height: int = HEIGHT, width: int = WIDTH, tint: int = 0) -> np.ndarray:
    """uint8 RGB (height, width, 3): in the upper third a ramp to the right, in the middle third ``number`` as
    ``NUM_BITS`` white or black blocks (the lowest bit left), in the lower third a ramp downwards, bluer by ``tint``."""
    frame = np.zeros((height, width, 3), np.uint8)
    upper, lower = height // 3, 2 * height // 3
    frame[:upper] = np.linspace(40, 215, width).astype(np.uint8)[None, :, None]
    frame[lower:] = np.linspace(40, 215, height - lower).astype(np.uint8)[:, None, None]
    frame[lower:, :, 2] = 60 + tint
    for bit, block in enumerate(np.array_split(np.arange(width), NUM_BITS)):
        frame[upper:lower, block] = 225 if number >> bit & 1 else 30
    return frame


def read_number(frame: np.ndarray) -> tuple[int, bool]:
    """The number that a whole (uncropped) frame of any size shows, and whether it is flipped left to right."""
    height, width = frame.shape[:2]
    gray = frame.astype(np.float32).mean(-1)
    flipped = bool(gray[: height // 4, : width // 4].mean() > gray[: height // 4, -(width // 4) :].mean())
    if flipped:
        gray = gray[:, ::-1]
    middle = gray[int(height * 0.42) : int(height * 0.58)]
    blocks = np.array_split(np.arange(width), NUM_BITS)
    return sum((middle[:, block].mean() > 128) << bit for bit, block in enumerate(blocks)), flipped


def write_clip(
    path: Path,
    codec: str,
    frames: Sequence[np.ndarray],
    *,
    pix_fmt: str | None = None,
    options: Mapping[str, str] | None = None,
    bt709: bool = False,
) -> Path:
    """Encode RGB frames; ``bt709`` converts and tags with that matrix (limited range)."""
    import av
    from av.video.reformatter import ColorRange, Colorspace

    _, default_pix_fmt, default_options = ENCODERS[codec]
    full = (pix_fmt or default_pix_fmt).startswith("yuvj")
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=Fraction(25))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt or default_pix_fmt
        stream.options = {**default_options, **(options or {})}
        stream.codec_context.thread_count = 1
        if bt709:
            stream.codec_context.colorspace = 1
            stream.codec_context.color_range = 1
        for number, frame in enumerate(frames):
            converted = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
                format=stream.pix_fmt,
                src_colorspace=Colorspace.ITU709 if bt709 else Colorspace.ITU601,
                dst_colorspace=Colorspace.ITU709 if bt709 else Colorspace.ITU601,
                src_color_range=ColorRange.JPEG,
                dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            )
            converted.pts, converted.time_base = number, Fraction(1, 25)
            if not bt709:
                converted.colorspace, converted.color_range = 2, 0  # untagged, as most files are
            container.mux(stream.encode(converted))
        container.mux(stream.encode(None))
    return path


def numbered_clip(path: Path, codec: str, num_frames: int, **options: Any) -> Path:
    """A clip of ``picture(0)``, ``picture(1)``, ..."""
    size = {key: options.pop(key) for key in ("height", "width", "tint") if key in options}
    return write_clip(path, codec, [picture(number, **size) for number in range(num_frames)], **options)


def set_display_rotation(path: Path, *, quarter_turns_clockwise: int) -> None:
    """Write a rotation into the track header of an mp4, as phones do; the pictures are left alone."""
    cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarter_turns_clockwise]
    one = 1 << 16
    matrix = struct.pack(">9i", cosine * one, sine * one, 0, -sine * one, cosine * one, 0, 0, 0, 1 << 30)
    content = path.read_bytes()
    start = content.index(b"tkhd") + 4 + 40  # version 0: 40 bytes of times, number, layer and volume before it
    assert content[start : start + 4] == struct.pack(">i", one)
    path.write_bytes(content[:start] + matrix + content[start + 36 :])


@pytest.fixture(autouse=True)
def log_is_whole() -> None:
    """Commands that train many runs quieten the log of their process, which the tests after them share."""
    for name in ("reskd", "reskd.experiment"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def make_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes (once a session for the same arguments) a folder of class folders with numbered clips.

    ``make_folder({"h264": ["libx264", "libx264"], "webm": ["libvpx-vp9"]}, num_frames=24)``
    """
    made: dict[str, Path] = {}

    def make(classes: Mapping[str, Sequence[str]], *, num_frames: int = 24) -> Path:
        key = repr((sorted(classes.items()), num_frames))
        if key not in made:
            made[key] = tmp_path_factory.mktemp("clips")
            for name, codecs in classes.items():
                (made[key] / name).mkdir()
                for number, codec in enumerate(codecs):
                    suffix = ENCODERS[codec][0]
                    numbered_clip(made[key] / name / f"{number:02d}{suffix}", codec, num_frames, tint=20 * number)
        return made[key]

    return make


@pytest.fixture(scope="session", autouse=True)
def _one_thread_each() -> Iterator[None]:
    """Several tests start processes; more threads than cores only slow each other down.

    RESKD_TEST_THREADS sets another number: the results must not depend on it where a test asks for equality.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("RESKD_TEST_THREADS", "1")))
    yield
    torch.set_num_threads(before)
