"""Accuracy against operations and against time, a panel for each data set and family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reskd.study.report import Results, Row

_STYLES = {"baseline": ("uniform, no teacher", "o--"), "serial": ("serial", "s-"), "parallel": ("parallel", "^-")}
Costs = Mapping[tuple[str, str, str], float]  # (data, family, k or "all") -> operations or time


def macs_of(rows: Sequence[Row]) -> Costs:
    """Millions of multiply-accumulates a video, as the rows say."""
    return {(row["data"], row["family"], row["k"]): float(row["mmacs"]) for row in rows}


def times_of(rows: Sequence[Row]) -> Costs:
    """Processor milliseconds a video, end to end, from rows of the study's timing."""
    return {
        (row["data"], row["family"], row["candidate"].removeprefix("k=")): float(row["cpu_ms"])
        for row in rows
        if row["part"] == "end_to_end"
    }


def draw(rows: Sequence[Row], costs: Costs, path: Path, *, metric: str, label: str) -> None:
    """One picture; cases whose cost is not known are left out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys((row["data"], row["family"]) for row in rows))
    figure = Figure(figsize=(4.2 * len(panels), 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (data, family) in zip(all_axes, panels, strict=True):
        own = [row for row in rows if (row["data"], row["family"]) == (data, family)]
        _panel(axes, Results(own, metric), {k: cost for (d, f, k), cost in costs.items() if (d, f) == (data, family)})
        axes.set(title=f"{data}, {family}", xlabel=label, xscale="log")
    all_axes[0].set_ylabel(f"{metric}, %")
    all_axes[0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _panel(axes: Any, results: Results, cost_of: Mapping[str, float]) -> None:
    for mode, (label, style) in _STYLES.items():
        found = [(cost_of.get(str(k)), results.of(mode, "uniform", k)) for k in results.ks]
        points = [(cost, summary) for cost, summary in found if cost is not None and summary is not None]
        if points:
            means, spreads = ([100 * s.mean for _, s in points], [100 * (s.spread or 0) for _, s in points])
            axes.errorbar([cost for cost, _ in points], means, yerr=spreads, fmt=style, label=label, capsize=2)
    teacher = results.of("teacher", "uniform", "all")
    if teacher and "all" in cost_of:
        axes.plot([cost_of["all"]], [100 * teacher.mean], "k*", label="teacher, all frames")
