"""Encode the demo's videos, in several formats."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import av

from dali_pipes.synthetic.videos import FRAMES_PER_SECOND, Pixels


class Codec(NamedTuple):
    """Encoder settings of one format."""

    encoder: str
    suffix: str
    pixel_format: str
    options: dict[str, str]


# A keyframe every 12 frames, and settings that encode quickly at a quality that preserves the slats.
CODECS = {
    "h264": Codec("libx264", ".mp4", "yuv420p", {"preset": "ultrafast", "crf": "18", "g": "12", "threads": "1"}),
    "vp9": Codec(
        "libvpx-vp9",
        ".webm",
        "yuv420p",
        {"deadline": "realtime", "cpu-used": "8", "crf": "18", "b": "0", "g": "12", "threads": "1"},
    ),
    "mjpeg": Codec("mjpeg", ".avi", "yuvj420p", {"qmin": "3", "qmax": "3", "threads": "1"}),
}


@contextmanager
def same_scheduling() -> Iterator[None]:
    """Keep the calling thread's scheduling policy over a block that encodes.

    Run by root, SVT-AV1 makes its caller, and all that this starts later, real-time (SCHED_FIFO, priority 99). Threads
    that spin at a barrier, on as many cores, then starve the ones they wait for, for good.
    """
    policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameter)


def encode(path: Path, frames_THWC: Pixels, codec: Codec) -> None:
    """Write uint8 RGB frames as a video file.

    Raises:
        ValueError: the FFmpeg in PyAV lacks the encoder.
    """
    if codec.encoder not in av.codecs_available:
        raise ValueError(
            f"expected an FFmpeg with the encoder {codec.encoder}, found PyAV {av.__version__} without it; "
            "install PyAV from a wheel, or choose another --format."
        )
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec.encoder, rate=FRAMES_PER_SECOND, options=codec.options)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames_THWC.shape[1:3]
        stream.pix_fmt = codec.pixel_format
        for frame in frames_THWC:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
