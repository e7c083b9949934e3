"""A few steps under torch's profiler: tables of phases and kernels, and a trace."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from dali_pipes.batch import ClipBatch
from reskd.profiling.measurement_rows import aligned
from reskd.runtime.phases import PHASES, PhaseClock
from reskd.step_profiling.rates import resident_batch
from reskd.step_profiling.setup import SpeedRun

_WARMUP = 3


def profile_steps(run: SpeedRun, out: Path, *, steps: int, rows: int, nvtx: bool = False) -> str:
    """Profile ``steps`` steps after a few that choose kernels; writes trace.json and steps.txt.

    Args:
        run: its batches are real if it has a loader.
        out: an existing folder.
        rows: kernels in the table.
        nvtx: emit NVTX ranges in place of a trace, for Nsight Systems.

    Returns:
        The tables.
    """
    trainer = run.trainer
    batches = iter(run.loader) if run.loader is not None else itertools.repeat(resident_batch(trainer))
    trainer.parallel.train()
    for _ in range(_WARMUP):
        trainer.train_step(batches)
    if nvtx:
        with torch.autograd.profiler.emit_nvtx(), PhaseClock(trainer, ranges=True) as clock:
            return _table(_steps(run, clock, batches, steps), steps)
    activities = [ProfilerActivity.CPU]
    activities += [ProfilerActivity.CUDA] if trainer.world.device.type == "cuda" else []
    with profile(activities=activities) as profiler, PhaseClock(trainer, ranges=True) as clock:
        phases = _steps(run, clock, batches, steps)
    profiler.export_chrome_trace(str(out / "trace.json"))
    text = f"{_table(phases, steps)}\n\n{_kernels(profiler, rows, steps, on_gpu=len(activities) > 1)}"
    (out / "steps.txt").write_text(f"{text}\n", encoding="utf-8")
    return text


def _steps(run: SpeedRun, clock: PhaseClock, batches: Iterator[ClipBatch], steps: int) -> dict[str, float]:
    timed = clock.waiting(batches)
    for _ in range(steps):
        run.trainer.train_step(timed)
    clock.stop()
    return clock.pop()


def _table(phases_ms: dict[str, float], steps: int) -> str:
    total = sum(phases_ms.values())
    lines = [["phase", "ms a step", "share"]]
    lines += [[name, f"{phases_ms[name] / steps:.2f}", f"{100 * phases_ms[name] / total:.1f} %"] for name in PHASES]
    return aligned([*lines, ["step", f"{total / steps:.2f}", ""]])


def _kernels(profiler: profile, rows: int, steps: int, *, on_gpu: bool) -> str:
    """The kernels that take the most time of their own: on the GPU, or on the CPU without one."""

    def own_ms(event: Any) -> float:
        return float(event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e3

    events = [event for event in profiler.key_averages() if event.key not in PHASES]
    if on_gpu:  # an operator has its kernels' time, too
        events = [event for event in events if event.device_type == DeviceType.CUDA]
    events.sort(key=own_ms, reverse=True)
    lines = [["kernel", "ms a step", "calls a step"]]
    lines += [[event.key[:80], f"{own_ms(event) / steps:.2f}", f"{event.count / steps:.0f}"] for event in events[:rows]]
    return aligned(lines)
