"""How many clips a second a recogniser answers, decoding left out."""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn

from reskd.training.precision import Precision

_WARMUP, _REPEATS = 2, 7


@torch.no_grad()
def measure_clips_per_second(
    model: nn.Module, shape: tuple[int, int, int], precision: Precision, *, batch_size: int
) -> float:
    """The median over repeats of clips a second of wall time, for uint8 frames that lie on the device already.

    Args:
        model: frames_NTHWC -> RecognizerOutput, on ``precision.device``; put into eval mode.
        shape: (T, H, W) of a clip.
    """
    model.eval()
    frames_NTHWC = torch.randint(0, 256, (batch_size, *shape, 3), dtype=torch.uint8, device=precision.device)
    seconds = []
    for _ in range(_WARMUP + _REPEATS):
        started = time.perf_counter()
        with precision.autocast():
            model(frames_NTHWC)
        if precision.device.type == "cuda":
            torch.cuda.synchronize(precision.device)
        seconds.append(time.perf_counter() - started)
    return batch_size / statistics.median(seconds[_WARMUP:])
