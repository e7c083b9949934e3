"""The DALI pipeline in front of an exported student: whole frames in, the student's view out.

It crops and resizes as the loader does for the center test view. Shape letters: T frames, H W sizes of the given
frames, h w of the view, C = 3 colors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

INPUT, OUTPUT = "frames", "clips"


@dataclass(frozen=True)
class ViewSteps:
    """How a whole frame becomes the view.

    Args:
        aspect: width over height of the crop.
        ratio: side of the crop over that of the largest box of this aspect.
        sizes: (height, width) of each resize, one after the other.
    """

    aspect: float
    ratio: float
    sizes: tuple[tuple[int, int], ...]


def write_pipeline(steps: ViewSteps, path: Path, *, max_batch_size: int) -> None:
    """Serialize the pipeline for the CPU; it takes and gives uint8 (T, H, W, C) and (T, h, w, C) for each sample.

    Raises:
        ValueError: DALI is not installed.
    """
    try:
        from nvidia.dali import Pipeline, fn, types
    except ImportError as error:
        raise ValueError(
            "triton: expected NVIDIA DALI, found none; pip install 'reskd[cuda12]' or [cuda13]."
        ) from error
    with Pipeline(batch_size=max_batch_size, num_threads=2, device_id=None) as pipeline:
        frames = fn.external_source(device="cpu", name=INPUT, dtype=types.UINT8, ndim=4, layout="FHWC")
        start, shape = _center_crop(frames, steps)
        view = fn.slice(frames, start=start, shape=shape, axes=(1, 2))
        for size in steps.sizes:
            view = fn.resize(view, size=size, interp_type=types.INTERP_LINEAR, antialias=False)
        pipeline.set_outputs(view)
    path.write_bytes(pipeline.serialize())


def _center_crop(frames: Any, steps: ViewSteps) -> tuple[Any, Any]:
    """Start and shape (height, width) of the crop, as ``dali_pipes.sampling.crops.center_crop`` computes them."""
    from nvidia.dali import fn, math, types

    size = fn.cast(frames.shape(), dtype=types.FLOAT64)
    height, width = size[1], size[2]
    aspect, ratio = (types.Constant(np.float64(value)) for value in (steps.aspect, steps.ratio))
    box_height = _rounded(math.min(height, width / aspect) * ratio)
    box_width = _rounded(math.min(width, height * aspect) * ratio)
    half = types.Constant(np.float64(0.5))
    y, x = math.floor((height - box_height) * half), math.floor((width - box_width) * half)
    start = fn.cast(fn.stack(y, x), dtype=types.INT32)
    return start, fn.cast(fn.stack(box_height, box_width), dtype=types.INT32)


def _rounded(value: Any) -> Any:
    """Rounded half to even, as Python does, and at least 1."""
    from nvidia.dali import fn, math, types

    half, one, two = (types.Constant(np.float64(number)) for number in (0.5, 1.0, 2.0))
    up = math.floor(value + half)
    is_tie = fn.cast(value + half == up, dtype=types.FLOAT64)
    is_odd = up - two * math.floor(up / two)
    return math.max(up - is_tie * is_odd, one)


def run_pipeline(path: Path, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Read a serialized pipeline again and run it on one batch: uint8 (T, H, W, C) each, of any sizes."""
    from nvidia.dali import Pipeline

    pipeline = Pipeline.deserialize(serialized_pipeline=path.read_bytes(), batch_size=len(clips), num_threads=1)
    pipeline.build()
    pipeline.feed_input(INPUT, [np.ascontiguousarray(clip) for clip in clips], layout="FHWC")
    (views,) = pipeline.run()
    return [np.array(views.at(number)) for number in range(len(clips))]
