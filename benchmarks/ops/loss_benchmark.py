"""Measures time and memory of the interpolate-plus-MSE loss: every backend, eager, torch.compile and a plain copy.

Shape letters: B images, D channels, H W the teacher's grid, h w the student's.
"""

from __future__ import annotations

import ctypes
import re
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.ops.loss_cases import Case, Layout
from reskd.choices import PrecisionChoice
from reskd.ops.interpolate_mse import available_backends, interpolate_mse_loss
from reskd.profiling.measurement_rows import quantiles, rounded

_DTYPES: dict[PrecisionChoice, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_MIB = 2**20
_WARMUP = 2
_HEAD_START_CYCLES = 4_000_000  # about 2 ms


@dataclass(frozen=True)
class Row:
    """One candidate in one case and phase. Times are per call; memory is the peak beyond the inputs.

    Attributes:
        times_eager: eager's median over this median.
        times_floor: this median over that of a copy that moves the same bytes.
        page_fault_share: share of the median spent on first touches of new memory; None on a GPU.
    """

    case: str
    num_images: int
    num_channels: int
    small: int
    large: int
    layout: str
    dtype: str
    candidate: str
    phase: str
    median_ms: float
    p20_ms: float
    p80_ms: float
    cpu_ms: float
    moved_mib: float
    times_eager: float
    times_floor: float
    peak_extra_mib: float
    page_fault_share: float | None

    def as_columns(self) -> dict[str, object]:
        return rounded(asdict(self))


@dataclass
class _Samples:
    wall_ms: list[float]
    cpu_ms: list[float]
    page_faults: list[int]
    peak_extra_mib: float = 0.0


def measure_case(
    case: Case, *, device: torch.device, dtype: PrecisionChoice, layout: Layout, rounds: int, with_compile: bool
) -> list[Row]:
    """Time all candidates of one case in turn, ``rounds`` times, forward alone and forward plus backward."""
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    student, teacher = (
        torch.randn(case.num_images, case.num_channels, side, side, device=device)
        .to(_DTYPES[dtype])
        .to(memory_format=memory_format)
        for side in (case.small, case.large)
    )
    student.requires_grad_()
    torch.compiler.reset()  # else torch.compile falls back to eager after a few cases
    fault_ms = _page_fault_ms() if device.type == "cpu" else None
    rows = []
    for phase in ("forward", "forward+backward"):
        moved = teacher.nbytes + student.nbytes * (1 if phase == "forward" else 4)
        calls = _candidates(student, teacher, phase=phase, moved_bytes=moved, with_compile=with_compile)
        shared = {**case.columns, "layout": layout, "dtype": dtype, "phase": phase, "moved_mib": moved / _MIB}
        rows += _rows(shared, _take_turns(calls, device, rounds), fault_ms)
    return rows


def _take_turns(calls: Mapping[str, Callable[[], object]], device: torch.device, rounds: int) -> dict[str, _Samples]:
    samples = {name: _Samples([], [], []) for name in calls}
    for turn in range(_WARMUP + rounds):
        for name, call in calls.items():
            _time(call, device, samples[name] if turn >= _WARMUP else _Samples([], [], []))
    for name, call in calls.items():
        samples[name].peak_extra_mib = _peak_extra_mib(call, device)
    return samples


def _rows(shared: Mapping[str, Any], samples: Mapping[str, _Samples], fault_ms: float | None) -> list[Row]:
    """A row per candidate; ``shared`` has the columns in which they are equal."""
    floor, eager = (statistics.median(samples[name].wall_ms) for name in ("copy", "eager"))
    rows = []
    for name, sample in samples.items():
        low, median, high = quantiles(sample.wall_ms)
        share = None if fault_ms is None else statistics.median(sample.page_faults) * fault_ms / median
        rows.append(
            Row(
                **shared,
                candidate=name,
                median_ms=median,
                p20_ms=low,
                p80_ms=high,
                cpu_ms=statistics.median(sample.cpu_ms),
                times_eager=eager / median,
                times_floor=median / floor,
                peak_extra_mib=sample.peak_extra_mib,
                page_fault_share=share,
            )
        )
    return rows


def _candidates(
    student: Tensor, teacher: Tensor, *, phase: str, moved_bytes: int, with_compile: bool
) -> dict[str, Callable[[], object]]:
    """Name -> a call to be timed; "copy" is the floor."""
    source = torch.ones(moved_bytes // 2, dtype=torch.uint8, device=student.device)
    target = torch.ones_like(source)

    def timed(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], object]:
        if phase == "forward":
            return torch.no_grad()(lambda: loss(student, teacher))
        # As in a network, where features are not a leaf: nothing is accumulated into student.grad.
        return lambda: torch.autograd.grad(loss(student, teacher), student)

    def backend(name: str) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda a, b: interpolate_mse_loss(a, b, backend=name)  # type: ignore[arg-type]

    calls: dict[str, Callable[[], object]] = {
        "copy": lambda: target.copy_(source),
        "eager": timed(backend("reference")),
    }
    if with_compile:
        calls["compile"] = timed(torch.compile(backend("reference"), dynamic=False))
    for name, reason in available_backends(student, teacher).items():
        if reason is None and name != "reference":
            calls[name] = timed(backend(name))
    return calls


def _time(call: Callable[[], object], device: torch.device, into: _Samples) -> None:
    """Time one call. On a GPU the wall time is the GPU's own, and the CPU time is that of the kernel launches."""
    faults, cpu, wall = _page_faults(), time.process_time(), time.perf_counter()
    if device.type == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(_HEAD_START_CYCLES)  # the CPU is ahead when the GPU begins, so no gap is timed
        begin.record()
        call()
        end.record()
        cpu_seconds = time.process_time() - cpu
        torch.cuda.synchronize(device)
        into.wall_ms.append(begin.elapsed_time(end))
        into.cpu_ms.append(cpu_seconds * 1e3)
        return
    call()
    into.wall_ms.append((time.perf_counter() - wall) * 1e3)
    into.cpu_ms.append((time.process_time() - cpu) * 1e3)
    into.page_faults.append(_page_faults() - faults)


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _page_fault_ms() -> float:
    """The time of a first touch of a page: filling new memory minus filling it again."""
    costs = []
    for _ in range(5):
        fresh = torch.empty(64 * _MIB, dtype=torch.uint8)
        seconds, before = [], _page_faults()
        for _ in range(2):
            started = time.perf_counter()
            fresh.fill_(1)
            seconds.append(time.perf_counter() - started)
        costs.append(max(0.0, seconds[0] - seconds[1]) * 1e3 / max(1, _page_faults() - before))
        del fresh
    return statistics.median(costs)


def _peak_extra_mib(call: Callable[[], object], device: torch.device) -> float:
    """Peak memory of one call beyond the memory held before; on a CPU from the kernel's high-water mark."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        allocated = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - allocated) / _MIB
    try:
        ctypes.CDLL(None).malloc_trim(0)  # else reuse of memory that malloc kept would not be counted
        Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark to the current size
    except (OSError, AttributeError):
        return float("nan")
    resident = _status_mib("VmRSS")
    call()
    return _status_mib("VmHWM") - resident


def _status_mib(name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found.group(1)) / 1024


def draw_rows(rows: Sequence[Mapping[str, str]], path: Path) -> None:
    """Draw forward plus backward on the last row's device, a group of bars per case: time as a multiple of the copy.
    Newest rows win."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    newest: dict[tuple[str, str], float] = {}
    rows = [row for row in rows if row["device"] == rows[-1]["device"]]
    for row in rows:
        if row["phase"] == "forward+backward" and row["candidate"] != "copy":
            group = f"{row['case']}\n{row['layout']}, {row['dtype']}"
            newest[group, row["candidate"]] = float(row["times_floor"])
    groups = list(dict.fromkeys(group for group, _ in newest))
    candidates = list(dict.fromkeys(candidate for _, candidate in newest))
    figure, axes = plt.subplots(figsize=(9, 1 + 0.55 * len(groups)), layout="constrained")
    height = 0.8 / len(candidates)
    for number, candidate in enumerate(candidates):
        positions = [index + number * height for index in range(len(groups))]
        bars = axes.barh(positions, [newest.get((group, candidate), 0) for group in groups], height, label=candidate)
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=7)
    axes.set_yticks([index + 0.4 - height / 2 for index in range(len(groups))], groups, fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1, color="gray", linewidth=1)
    axes.set_xlabel("forward + backward, as a multiple of a copy that moves the same bytes")
    versions, commits = (", ".join(sorted({row[name] for row in rows})) for name in ("torch", "commit"))
    axes.set_title(f"{rows[-1]['device']}, torch {versions}, commit {commits}", fontsize=9)
    axes.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
