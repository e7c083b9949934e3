"""Measures how many videos per second a recognizer classifies, without decoding, and how long one video takes.

Note [Sizes take turns]
Sizes, modes and batches are candidates of one run: each round times every candidate once, in an order that shifts by
one from round to round, so that a busy moment or a hot chip affects all of them. Ratios are taken between medians of
one run; the state of the machine differs between runs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
import torch._dynamo
from torch import Tensor, nn

from reskd.choices import ThroughputMode
from reskd.device_times import wait_for
from reskd.models.recognizer import Shape, data_shape
from reskd.profiling.measurement_rows import quantiles, rounded
from reskd.training.precision import Precision

_WARMUP, _REPEATS = 2, 7


@dataclass(frozen=True)
class Row:
    """One mode of running one model on batches of one size. Times are per batch.

    Attributes:
        height, width: 1 and D for features.
        videos_per_second: from the median wall time.
        times_largest: videos per second over those of the largest size, same mode and batch.
        cpu_times_largest: the same ratio of cpu times, which other programs on the machine disturb less.
    """

    mode: str
    num_frames: int
    height: int
    width: int
    batch: int
    views: int
    precision: str
    rounds: int
    median_ms: float
    p20_ms: float
    p80_ms: float
    cpu_ms: float
    videos_per_second: float
    times_largest: float
    cpu_times_largest: float

    def as_columns(self) -> dict[str, object]:
        return rounded(asdict(self))


@dataclass(frozen=True)
class _Candidate:
    mode: ThroughputMode
    shape: Shape
    batch: int


class Sweep(NamedTuple):
    """The measurements to make: every mode with every batch and every shape.

    Args:
        shapes: of a clip; the largest first, as the others are compared with it.
        batches: clips per batch; a batch of 1 measures latency.
    """

    shapes: Sequence[Shape]
    modes: Sequence[ThroughputMode]
    batches: Sequence[int]

    def candidates(self) -> list[_Candidate]:
        return [
            _Candidate(mode, shape, batch) for mode in self.modes for batch in self.batches for shape in self.shapes
        ]


@dataclass
class _Samples:
    wall_ms: list[float]
    cpu_ms: list[float]


@torch.no_grad()
def measure_sizes(
    model: nn.Module,
    sweep: Sweep,
    precision: Precision,
    *,
    views: int = 1,
    rounds: int = _REPEATS,
    on_ready: Callable[[str], None] = lambda message: None,
) -> list[Row]:
    """Time every mode, batch and size in turn, ``rounds`` times. See Note [Sizes take turns].

    Args:
        model: uint8 data -> RecognizerOutput, on ``precision.device``; put into eval mode.
        views: clips of one video.
        on_ready: called with each candidate that has been prepared, since compiling takes long.

    Raises:
        ValueError: a batch does not fit the GPU.
    """
    model.eval()
    candidates = sweep.candidates()
    samples = {candidate: _Samples([], []) for candidate in candidates}
    with _fastest_kernels(num_candidates=len(candidates)), precision.autocast():
        calls = {}
        for candidate in candidates:
            calls[candidate] = _prepare(model, candidate, precision.device)
            on_ready(f"{candidate.mode}, batch {candidate.batch}, {'x'.join(map(str, candidate.shape))}")
        for turn in range(rounds):
            for candidate in candidates[turn % len(candidates) :] + candidates[: turn % len(candidates)]:
                _time(calls[candidate], precision.device, samples[candidate])
    return [_row(candidate, samples, sweep.shapes[0], views, precision) for candidate in candidates]


@torch.no_grad()
def measure_clips_per_second(model: nn.Module, shape: Shape, precision: Precision, *, batch_size: int) -> float:
    """Clips per second of wall time, the median of repeats, for uint8 frames that are already on the device.

    Args:
        model: uint8 data -> RecognizerOutput, on ``precision.device``; put into eval mode.
    """
    model.eval()
    samples = _Samples([], [])
    with precision.autocast():
        call = _prepare(model, _Candidate("eager", shape, batch_size), precision.device)
        for _ in range(_REPEATS):
            _time(call, precision.device, samples)
    return batch_size * 1e3 / statistics.median(samples.wall_ms)


def _prepare(model: nn.Module, candidate: _Candidate, device: torch.device) -> Callable[[], object]:
    """A warmed-up call to be timed. Its frames are already on the device."""
    size = data_shape(candidate.shape, candidate.batch)
    data = torch.randint(0, 256, size, dtype=torch.uint8, device=device)
    try:
        run = _runnable(model, candidate.mode, data)
        for _ in range(_WARMUP):
            run(data)
        wait_for(device)
    except torch.OutOfMemoryError:
        raise ValueError(
            f"{candidate.mode}: expected a batch that fits the GPU, found {candidate.batch} clips of "
            f"{'x'.join(map(str, candidate.shape))} that do not; choose a smaller --batch."
        ) from None
    return lambda: run(data)


def _runnable(model: nn.Module, mode: ThroughputMode, data: Tensor) -> Callable[[Tensor], object]:
    if mode == "compile":
        # fullgraph: else a part that falls back to eager would be timed as compiled.
        return torch.compile(model, dynamic=False, fullgraph=True)
    if mode == "export":
        return torch.export.export(model, (data,)).module()
    return model


@contextmanager
def _fastest_kernels(*, num_candidates: int) -> Iterator[None]:
    """Let cuDNN try its kernels, as in training, and torch.compile keep a program for every size (its limit is 8)."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        with torch._dynamo.config.patch(cache_size_limit=max(8, 2 * num_candidates)):
            yield
    finally:
        torch.backends.cudnn.benchmark = before


def _time(call: Callable[[], object], device: torch.device, into: _Samples) -> None:
    """Time one call, from idle device to idle device."""
    wait_for(device)
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    wait_for(device)
    into.wall_ms.append((time.perf_counter() - wall) * 1e3)
    into.cpu_ms.append((time.process_time() - cpu) * 1e3)


def _row(
    candidate: _Candidate, samples: dict[_Candidate, _Samples], largest: Shape, views: int, precision: Precision
) -> Row:
    mine, theirs = samples[candidate], samples[_Candidate(candidate.mode, largest, candidate.batch)]
    low, median, high = quantiles(mine.wall_ms)
    cpu_ms = statistics.median(mine.cpu_ms)
    num_frames, height, width = (
        candidate.shape if len(candidate.shape) == 3 else (candidate.shape[0], 1, candidate.shape[1])
    )
    return Row(
        candidate.mode,
        num_frames,
        height,
        width,
        batch=candidate.batch,
        views=views,
        precision=precision.choice,
        rounds=len(mine.wall_ms),
        median_ms=median,
        p20_ms=low,
        p80_ms=high,
        cpu_ms=cpu_ms,
        videos_per_second=candidate.batch * 1e3 / median / views,
        times_largest=statistics.median(theirs.wall_ms) / median,
        cpu_times_largest=statistics.median(theirs.cpu_ms) / cpu_ms,
    )
