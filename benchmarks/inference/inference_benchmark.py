"""Measures the cost of classifying a video, from its record to its scores: a teacher on all frames, and students.

Note [What is timed]
``reading`` is a pass of the loader over the records: read, checksum, parse, select, batch. ``model`` is the network on
batches in memory. ``end_to_end`` is both, as in an evaluation: a thread reads ahead while the network works, so its
wall time is less than the sum, but its processor time is not. Candidates take turns in an order that shifts from round
to round; ratios are of medians of one run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from dali_pipes.features.config import FeatureDataConfig
from dali_pipes.features.loader import FeatureLoader
from dali_pipes.features.manifest import FeatureManifest
from dali_pipes.features.sequence_example import write_video
from dali_pipes.features.tfrecord import RecordWriter
from dali_pipes.sampling.order import ReadingOrder
from reskd.device_times import wait_for
from reskd.profiling.measurement_rows import quantiles, rounded

Part = Literal["end_to_end", "reading", "model"]
PARTS: tuple[Part, ...] = ("end_to_end", "reading", "model")


@dataclass(frozen=True)
class Candidate:
    """One network with its input.

    Args:
        name: such as "k=30"; the others are compared with the first candidate.
        data: its student's view is the input.
        model: in eval mode, on the CPU or a GPU.
    """

    name: str
    data: FeatureDataConfig
    model: nn.Module


@dataclass(frozen=True)
class Row:
    """The measurement of one part of one candidate. Times are per video.

    Attributes:
        times_first, cpu_times_first: wall and processor time over the first candidate's.
    """

    candidate: str
    part: str
    batch: int
    rounds: int
    median_ms: float
    p20_ms: float
    p80_ms: float
    cpu_ms: float
    times_first: float
    cpu_times_first: float

    def as_columns(self) -> dict[str, object]:
        return rounded(asdict(self))


def write_noise_records(path: Path, groups: Mapping[str, int], *, num_videos: int, num_frames: int) -> None:
    """Write videos of random bytes, each with label 0: the cost of reading and computing does not depend on values."""
    random = np.random.default_rng(0)
    with RecordWriter(path) as writer:
        for number in range(num_videos):
            frames = {name: random.integers(0, 256, (num_frames, dim), np.uint8) for name, dim in groups.items()}
            write_video(writer, video_id=f"{number:04d}", labels=[0], groups=frames)


@torch.no_grad()
def measure_candidates(
    candidates: Sequence[Candidate],
    manifest: FeatureManifest,
    *,
    batch_size: int,
    rounds: int,
    device: torch.device,
) -> list[Row]:
    """Time every part of every candidate in turn, ``rounds`` times. See Note [What is timed].

    Args:
        manifest: all its videos are read; the last batch is padded.
    """
    order = ReadingOrder(mode="eval", batch_size=batch_size)
    loaders = [FeatureLoader(manifest, one.data, order=order, views=("student",), device=device) for one in candidates]
    calls: dict[tuple[str, Part], Callable[[], None]] = {}
    try:
        for one, loader in zip(candidates, loaders, strict=True):
            one.model.eval()
            for part in PARTS:
                calls[one.name, part] = _call(one.model, loader, part)
        num_videos = loaders[0].num_batches * batch_size
        samples = _take_turns(calls, rounds, device)
    finally:
        for loader in loaders:
            loader.close()
    return [_row(key, samples, candidates[0].name, num_videos, batch_size) for key in calls]


def _call(model: nn.Module, loader: FeatureLoader, part: Part) -> Callable[[], None]:
    if part == "model":
        views = [batch.views["student"] for batch in loader]

        def answer() -> None:
            for view in views:
                model(view.data, view.valid_NT)

        return answer

    def read() -> None:
        for batch in loader:
            if part == "end_to_end":
                view = batch.views["student"]
                model(view.data, view.valid_NT).logits_NK.cpu()

    return read


Samples = dict[tuple[str, Part], list[tuple[float, float]]]  # (wall, processor) seconds of a pass


def _take_turns(calls: Mapping[tuple[str, Part], Callable[[], None]], rounds: int, device: torch.device) -> Samples:
    keys = list(calls)
    samples: Samples = {key: [] for key in keys}
    for turn in range(-1, rounds):  # the first warms up
        for key in keys[turn % len(keys) :] + keys[: turn % len(keys)]:
            wait_for(device)
            cpu, wall = time.process_time(), time.perf_counter()
            calls[key]()
            wait_for(device)
            if turn >= 0:
                samples[key].append((time.perf_counter() - wall, time.process_time() - cpu))
    return samples


def _row(key: tuple[str, Part], samples: Samples, first: str, num_videos: int, batch_size: int) -> Row:
    mine, theirs = samples[key], samples[first, key[1]]
    low, median, high = quantiles([wall * 1e3 / num_videos for wall, _ in mine])
    cpu_ms = statistics.median(cpu for _, cpu in mine) * 1e3 / num_videos
    first_cpu_ms = statistics.median(cpu for _, cpu in theirs) * 1e3 / num_videos
    first_ms = statistics.median(wall for wall, _ in theirs) * 1e3 / num_videos
    return Row(
        *key, batch_size, len(mine), median, low, high, cpu_ms, median / first_ms, cpu_ms / max(first_cpu_ms, 1e-9)
    )
