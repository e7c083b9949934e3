"""Reports the grid of frames and resolutions: tables of every metric; pictures of top-1 against operations and time.

One seed with one teacher stands behind all cells, so they are not independent, and no interval over seeds can be given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.fewer_frames.pictures import scale_by_ratio
from benchmarks.fewer_frames.report import METRIC_NAMES, Gap, Row, Summary, as_table, check_rows, metrics_of_rows

_METRIC = "top1"
_STYLES = {"baseline": "o--", "distilled": "s-"}


def pixels_markdown(rows: Sequence[Row], times: Sequence[Row]) -> str:
    """Costs and top-1 of the teacher and of each k and side; then distilled minus no teacher, in every metric.

    Raises:
        ValueError: as check_rows, for example if the epochs of runs differ.
    """
    check_rows(rows, ("mode", "k", "side", "seed"))
    lines = [["frames x side", "GMACs", "cpu ms, file to scores", "no teacher", "distilled", "gap"]]
    for k, side in _kinds(rows):
        found = {mode: _by_seed(rows, mode, k, side) for mode in ("teacher", *_STYLES)}
        macs = next(row["mmacs"] for row in rows if (row["k"], row["side"]) == (k, side))
        costs = [f"{float(macs) / 1e3:.3f}", _time(times, k, side)]
        if found["teacher"]:
            lines.append([f"teacher, {k} x {side}", *costs, str(Summary.of(list(found["teacher"].values()))), "", ""])
        shared = sorted(found["baseline"].keys() & found["distilled"].keys())
        gap = Gap(tuple(found["distilled"][s] - found["baseline"][s] for s in shared)).shown(_METRIC) if shared else ""
        cells = [str(Summary.of(list(found[mode].values()))) if found[mode] else "" for mode in _STYLES]
        if any(cells):
            lines.append([f"{k} x {side}", *costs, *cells, gap])
    sections = [f"### UCF10, pixels: {METRIC_NAMES[_METRIC]}", as_table(lines)]
    return "\n\n".join([*sections, "### UCF10, pixels: distilled minus no teacher, all metrics", _gaps(rows)]) + "\n"


def _gaps(rows: Sequence[Row]) -> str:
    """A line a k and side; the last has the means of all gaps, and in how many runs the distilled one is better."""
    metrics = metrics_of_rows(rows)
    lines = [["frames x side", *(METRIC_NAMES[metric] for metric in metrics)]]
    all_gaps = {metric: list[float]() for metric in metrics}
    for k, side in _kinds(rows):
        cells = []
        for metric in metrics:
            mine, theirs = (_by_seed(rows, mode, k, side, metric) for mode in ("distilled", "baseline"))
            gap = Gap(tuple(mine[seed] - theirs[seed] for seed in sorted(mine.keys() & theirs.keys())))
            cells.append(gap.shown(metric) if gap.of_seeds else "")
            all_gaps[metric] += gap.of_seeds
        if any(cells):
            lines.append([f"{k} x {side}", *cells])
    means = {metric: Gap((Summary.of(gaps).mean,)).shown(metric) for metric, gaps in all_gaps.items() if gaps}
    better = {metric: f"{Gap(tuple(gaps)).num_better(metric)} of {len(gaps)}" for metric, gaps in all_gaps.items()}
    lines.append(
        ["mean; runs better", *(f"{means[metric]}; {better[metric]}" if metric in means else "" for metric in metrics)]
    )
    return as_table(lines)


def draw_pixels(rows: Sequence[Row], times: Sequence[Row], path: Path) -> None:
    """Draw a panel against operations and, if measured, one against time; a line per side.

    The teacher's error bar is one standard error over the n test videos, sqrt(p (1 - p) / n).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    macs = {(row["k"], row["side"]): float(row["mmacs"]) / 1e3 for row in rows}
    measured = {(row["k"], row["side"]): float(row["cpu_ms"]) for row in times}
    panels = [("GMACs a video", macs)] + ([("processor ms a video, file to scores", measured)] if measured else [])
    figure = Figure(figsize=(5 * len(panels) + 1.6, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (label, costs) in zip(all_axes, panels, strict=True):
        for number, side in enumerate(sorted({row["side"] for row in rows}, key=int)):
            for mode, style in _STYLES.items():
                found = [(costs.get((k, side)), _by_seed(rows, mode, k, side)) for k, s in _kinds(rows) if s == side]
                points = [(cost, Summary.of(list(values.values()))) for cost, values in found if cost and values]
                if points:
                    means = [100 * summary.mean for _, summary in points]
                    label_of = f"{side} px, {'distilled' if mode == 'distilled' else 'no teacher'}"
                    axes.plot([cost for cost, _ in points], means, style, color=f"C{number}", label=label_of)
        _draw_teacher(axes, rows, costs)
        axes.set_xlabel(label)
        scale_by_ratio(axes)
    all_axes[0].set_ylabel(f"{_METRIC}, %")
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    figure.savefig(path, dpi=110)


def _draw_teacher(axes: Any, rows: Sequence[Row], costs: Mapping[tuple[str, str], float]) -> None:
    taught = [row for row in rows if row["mode"] == "teacher" and (row["k"], row["side"]) in costs]
    for (k, side), num_videos in {(row["k"], row["side"]): int(row["videos"]) for row in taught}.items():
        share = Summary.of(list(_by_seed(rows, "teacher", k, side).values())).mean
        error = (share * (1 - share) / num_videos) ** 0.5
        axes.errorbar([costs[k, side]], [100 * share], yerr=100 * error, fmt="k*", capsize=4, label="teacher")


def _kinds(rows: Sequence[Row]) -> list[tuple[str, str]]:
    return sorted({(row["k"], row["side"]) for row in rows}, key=lambda kind: (int(kind[1]), int(kind[0])))


def _by_seed(rows: Sequence[Row], mode: str, k: str, side: str, metric: str = _METRIC) -> dict[str, float]:
    wanted = (mode, k, side)
    return {row["seed"]: float(row[metric]) for row in rows if (row["mode"], row["k"], row["side"]) == wanted}


def _time(times: Sequence[Row], k: str, side: str) -> str:
    return next((f"{float(row['cpu_ms']):.1f}" for row in reversed(times) if (row["k"], row["side"]) == (k, side)), "")
