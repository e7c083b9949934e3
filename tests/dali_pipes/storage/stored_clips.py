"""Numbered clips in other storage than files: tar shards and folders of JPEG frames."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from dali_pipes.config import DataConfig
from tests.conftest import HEIGHT, WIDTH, picture

CENTER = {"num_frames": 4, "crop": {"kind": "center"}, "test_crop_ratio": 1.0}
BOTH = {"teacher": {"size": (HEIGHT, WIDTH)}, "student": {"size": (HEIGHT // 2, WIDTH // 2)}}


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    return path


def jpeg(frame: np.ndarray, *, pix_fmt: str = "yuvj420p") -> bytes:
    """A frame as the bytes of a JPEG file of high quality."""
    context: Any = av.CodecContext.create("mjpeg", "w")
    context.height, context.width = frame.shape[:2]
    context.pix_fmt, context.time_base = pix_fmt, Fraction(1, 25)
    context.qmin = context.qmax = 1
    converted = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
        format=pix_fmt, dst_colorspace="ITU601", dst_color_range="JPEG"
    )
    converted.pts = 0
    return b"".join(bytes(packet) for packet in (*context.encode(converted), *context.encode(None)))


def write_frames(
    folder: Path, num_frames: int, *, first: int = 1, template: str = "img_{:05d}.jpg", **size: int
) -> Path:
    """A folder whose file of number ``first + n`` shows ``picture(n)``."""
    folder.mkdir(parents=True)
    for number in range(num_frames):
        (folder / template.format(first + number)).write_bytes(jpeg(picture(number, **size)))
    return folder


def make_config(
    root: Path, *, storage: Mapping[str, Any], train: str, sampling: Any = None, **loader: Any
) -> DataConfig:
    return DataConfig(
        root=root,
        storage=storage,
        train=train,
        val_fraction=0.0,
        sampling=sampling or CENTER,
        views=BOTH,
        loader={"num_workers": 1, "num_threads": 1, **loader},
    )
