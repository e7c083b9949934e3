"""Rates of a training as text and as rows of a CSV."""

from __future__ import annotations

import resource
import time
from typing import Any

import torch

from reskd.device_times import wait_for
from reskd.profiling.measurement_rows import aligned, describe_run, rounded
from reskd.runtime.config import RuntimeConfig
from reskd.runtime.phases import PHASES
from reskd.step_profiling.rates import Rates
from reskd.step_profiling.setup import SpeedRun
from reskd.training.precision import Precision

_MATRIX = {"cuda": 8192, "cpu": 1024}
_PEAK_SECONDS = 0.5


def measure_peak_flops(precision: Precision) -> float:
    """Operations per second of square matrix products in this precision, a multiply-add counting as two."""
    device = precision.device
    side = _MATRIX[device.type]
    one, other = (torch.randn(side, side, device=device) for _ in range(2))
    with torch.no_grad(), precision.autocast():
        for _ in range(3):
            one @ other
        wait_for(device)
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < _PEAK_SECONDS:
            one @ other
            count += 1
            wait_for(device)
        seconds = time.perf_counter() - started
    return 2.0 * side**3 * count / seconds


def rows_of(
    name: str, run: SpeedRun, rates: Rates, peak_flops: float, *, runtime: RuntimeConfig
) -> list[dict[str, Any]]:
    """One row a loop, with the columns that describe the machine."""
    trainer = run.trainer
    about = describe_run(trainer.world.device)
    settings = {
        "config": name,
        "precision": trainer.precision.choice,
        "clips_per_step": rates.clips_per_step,
        "clips_per_pass": trainer.plan.clips_per_pass,
        "compile": f"{runtime.compile} as graphs" if runtime.cuda_graphs else runtime.compile,
    }
    rows = []
    for loop, times in rates.loops.items():
        clips_per_second = rates.clips_per_second(loop)
        values = {
            "loop": loop,
            "rounds": len(times.seconds),
            "clips_per_second": clips_per_second,
            "step_ms": 1e3 * times.median_s,
            "wait_share": times.wait_share,
            "mfu": clips_per_second * run.flops_per_clip / peak_flops,
            "peak_tflops": peak_flops / 1e12,
            "memory_gib": _memory_bytes(trainer.world.device) / 2**30,
            **{f"{phase}_ms": times.phase_ms(phase) for phase in PHASES},
        }
        rows.append({**about, **settings, **rounded(values)})
    return rows


def describe_rates(rates: Rates, rows: list[dict[str, Any]]) -> str:
    """A table, and the two numbers that say what a run loses."""
    shown = ("loop", "clips_per_second", "step_ms", "wait_share", "mfu", *(f"{phase}_ms" for phase in PHASES))
    titles = ["loop", "clips/s", "step ms", "wait", "of peak", *PHASES]
    lines = [titles, *([_cell(name, row[name]) for name in shown] for row in rows)]
    text = [
        aligned(lines),
        f"memory {rows[0]['memory_gib']:.2f} GiB; peak {rows[0]['peak_tflops']:.3f} TFLOP/s (a matrix product); "
        f"phases in ms a step",
        f"overhead of the training loop over the bare networks: {100 * rates.overhead:.1f} %",
    ]
    if "real" in rates.loops:
        wait = 100 * rates.loops["real"].wait_share
        text.append(f"lost to data: {100 * rates.lost_to_data:.1f} % of the time on real files, waiting: {wait:.1f} %")
    return "\n".join(text)


def _cell(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{100 * value:.1f} %" if name in ("wait_share", "mfu") else f"{value:.1f}"


def _memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
