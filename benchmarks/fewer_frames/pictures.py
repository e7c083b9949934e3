"""Draws accuracy against operations and against time, a row of panels per data set, a column per family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.fewer_frames.report import METRIC_NAMES, Results, Row

_STYLES = {"baseline": ("uniform, no teacher", "o--"), "serial": ("serial", "s-"), "parallel": ("parallel", "^-")}
Costs = Mapping[tuple[str, str, str], float]  # (data, family, k or "all") -> operations or time


def macs_of(rows: Sequence[Row]) -> Costs:
    """Millions of multiply-accumulates per video, from the rows."""
    return {(row["data"], row["family"], row["k"]): float(row["mmacs"]) for row in rows}


def times_of(rows: Sequence[Row]) -> Costs:
    """Processor milliseconds per video, end to end, from rows of the study's timing."""
    return {
        (row["data"], row["family"], row["candidate"].removeprefix("k=")): float(row["cpu_ms"])
        for row in rows
        if row["part"] == "end_to_end"
    }


def draw(rows: Sequence[Row], costs: Costs, path: Path, *, metric: str, label: str) -> None:
    """Draw one picture; cases without a known cost are left out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    data_sets, families = ([*dict.fromkeys(row[name] for row in rows)] for name in ("data", "family"))
    shape = (len(data_sets), len(families))
    figure = Figure(figsize=(4.2 * shape[1], 3.2 * shape[0]), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(*shape, squeeze=False)
    for (data, family), axes in zip(product(data_sets, families), panels.flat, strict=True):
        own = [row for row in rows if (row["data"], row["family"]) == (data, family)]
        _panel(axes, Results(own, metric), {k: cost for (d, f, k), cost in costs.items() if (d, f) == (data, family)})
        axes.set(title=f"{data}, {family}", xlabel=label)
        scale_by_ratio(axes)
    for axes in panels[:, 0]:
        axes.set_ylabel(f"{METRIC_NAMES[metric]}, %")
    panels[0, 0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def scale_by_ratio(axes: Any) -> None:
    """Make x logarithmic, with ticks at 1, 2 and 5, as a panel may span less than a decade."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _panel(axes: Any, results: Results, cost_of: Mapping[str, float]) -> None:
    for mode, (label, style) in _STYLES.items():
        found = [(cost_of.get(str(k)), results.of(mode, "uniform", k)) for k in results.ks]
        points = [(cost, summary) for cost, summary in found if cost is not None and summary is not None]
        if points:
            means, spreads = ([100 * s.mean for _, s in points], [100 * (s.spread or 0) for _, s in points])
            axes.errorbar([cost for cost, _ in points], means, yerr=spreads, fmt=style, label=label, capsize=2)
    teacher = results.of("teacher", "uniform", "all")
    if teacher and "all" in cost_of:
        spread = 100 * (teacher.spread or 0)
        axes.errorbar(
            [cost_of["all"]], [100 * teacher.mean], yerr=[spread], fmt="k*", label="teacher, all frames", capsize=2
        )
