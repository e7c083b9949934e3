"""Bars of a study's report: arms side by side, a chart for each metric, with the arms' intervals."""

from __future__ import annotations

from collections.abc import Sequence

from reskd.pages.bar_charts import Bar, bar_chart
from reskd.pages.svg import Chart
from reskd.statistics.metrics import Metric
from reskd.statistics.shown import shown_interval, shown_value
from reskd.study.page.data import ReportArm, ReportBars, StudyReport

_WIDTH = 360.0
_NOT_SHOWN = "mean_class_accuracy"  # nearly top-1 where classes are as large; it stands in the table


def draw_bars(report: StudyReport) -> list[tuple[str, list[Chart]]]:
    """(title, a chart for each metric) of each group of bars."""
    arms = {arm.name: (number, arm) for number, arm in enumerate(report.arms)}
    return [
        (
            group.title or "Arms side by side",
            [_draw_group(metric, group, arms) for metric in report.metrics if metric.name != _NOT_SHOWN],
        )
        for group in report.bars
    ]


def _draw_group(metric: Metric, group: ReportBars, arms: dict[str, tuple[int, ReportArm]]) -> Chart:
    """A row an arm: its name and numbers, and below them its bar from 0 with its interval."""
    found = [(name, *arms.get(name, (0, None))) for name in group.arms]
    unit = "per cent" if metric.scale == 100 else metric.unit
    better = "lower is better" if metric.lower_is_better else "higher is better"
    title = f"{metric.title}{_best(metric, found)}"
    chart = bar_chart(
        title,
        [_bar(metric, name, number, arm) for name, number, arm in found],
        x_title=f"{metric.title}, {unit}; {better}",
        is_small=True,
        width=_WIDTH,
        alone=f"{group.title}: {title}" if group.title else "",
    )
    return chart._replace(key=f"{metric.title}, with intervals")


def _best(metric: Metric, found: Sequence[tuple[str, int, ReportArm | None]]) -> str:
    """Which arm of several has the best mean, as the end of a title."""
    means = {
        name: arm.summary.metrics[metric.name].mean
        for name, _, arm in found
        if arm is not None and arm.summary is not None and metric.name in arm.summary.metrics
    }
    if len(means) < 2:
        return ", with its interval"
    best = (min if metric.lower_is_better else max)(means, key=means.__getitem__)
    return f": {best} is {'lowest' if metric.lower_is_better else 'highest'}"


def _bar(metric: Metric, name: str, number: int, arm: ReportArm | None) -> Bar:
    if arm is None or arm.summary is None or metric.name not in arm.summary.metrics:
        return Bar(name, None, "no finished run")
    mean, interval = arm.summary.metrics[metric.name].mean, arm.intervals.get(metric.name)
    numbers = shown_value(metric, mean)
    if interval is None:
        return Bar(name, metric.scale * mean, numbers, None, number, f"{name}: {metric.title} {numbers}")
    numbers += f" ({shown_interval(metric, *interval)})"
    ends = (metric.scale * interval[0], metric.scale * interval[1])
    return Bar(name, metric.scale * mean, numbers, ends, number, f"{name}: {metric.title} {numbers}")
