"""Measures the cost of the grid's students, from a video file to its scores."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.decode.few_frames_decode import Case as DecodeCase
from benchmarks.decode.few_frames_decode import Reading
from benchmarks.fewer_frames.pixels import NUM_FRAMES, SIDE, PixelCase
from dali_pipes.manifest.build import build_manifests
from reskd.models.families.registry import build_recognizer
from reskd.profiling.measurement_rows import quantiles

_TIMED_VIDEOS = 40


@torch.no_grad()
def time_pixels(cases: Sequence[PixelCase], base: Path, runs: Path, *, rounds: int) -> list[dict[str, object]]:
    """Processor and wall milliseconds per video, file to scores: read, decode k frames, crop, resize, network.

    Cases of the same k and side are timed once; all take turns, in an order that shifts from round to round.
    """
    kinds = list(dict.fromkeys((case.k, case.side) for case in cases))
    config = PixelCase("teacher", NUM_FRAMES, SIDE, 1, 1.0).config(base, runs)
    manifest = build_manifests(config.clips, seed=config.seed, splits=("test",))["test"]
    model = build_recognizer(config.student, len(manifest.class_names)).eval()
    positions = [number * len(manifest) // _TIMED_VIDEOS for number in range(_TIMED_VIDEOS)]
    readings = {
        (k, side): Reading(
            manifest,
            DecodeCase(k, "student"),
            num_frames=NUM_FRAMES,
            selection="uniform",
            sizes=((SIDE, SIDE), (side, side)),
        )
        for k, side in kinds
    }
    samples: dict[tuple[int, int], list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for turn in range(-1, rounds):  # the first warms up
        for kind in kinds[turn % len(kinds) :] + kinds[: turn % len(kinds)]:
            wall, cpu = time.perf_counter(), time.process_time()
            for position in positions:
                model(torch.from_numpy(readings[kind].pixels(position)[None]))
            if turn >= 0:
                samples[kind].append((time.perf_counter() - wall, time.process_time() - cpu))
    return [_time_row(kind, found) for kind, found in samples.items()]


def _time_row(kind: tuple[int, int], found: Sequence[tuple[float, float]]) -> dict[str, object]:
    per_video = 1e3 / _TIMED_VIDEOS
    low, median, high = quantiles([wall * per_video for wall, _ in found])
    cpu_ms = quantiles([cpu * per_video for _, cpu in found])[1]
    times = {"median_ms": median, "p20_ms": low, "p80_ms": high, "cpu_ms": cpu_ms}
    return {"k": kind[0], "side": kind[1], "rounds": len(found), **{name: round(t, 3) for name, t in times.items()}}
