"""Bars of a study's report: arms side by side, a chart for each metric, with the arms' intervals."""

from __future__ import annotations

from collections.abc import Sequence

from reskd.pages.svg import (
    TEXT_WIDTH,
    Chart,
    Scale,
    axes,
    color_class,
    element,
    escaped,
    line_between,
    picture,
    scale_for,
    shortened,
    text_at,
)
from reskd.statistics.metrics import Metric
from reskd.statistics.shown import shown_interval, shown_value
from reskd.study.page.data import ReportArm, ReportBars, StudyReport

_WIDTH, _SIDE, _ROW = 360.0, 12.0, 42.0
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
    values = [0.0]
    for _, _, arm in found:
        if arm is not None and arm.summary is not None and metric.name in arm.summary.metrics:
            mean = arm.summary.metrics[metric.name].mean
            values += [metric.scale * value for value in (mean, *arm.intervals.get(metric.name, (mean,)))]
    spread = scale_for(values, _SIDE, _WIDTH - _SIDE)
    x = Scale(0.0, max(spread.high, 1e-9), _SIDE, _WIDTH - _SIDE)
    bottom = _ROW * len(found) + 6
    unit = "per cent" if metric.scale == 100 else metric.unit
    better = "lower is better" if metric.lower_is_better else "higher is better"
    parts = [axes(x, Scale(0, 1, bottom, 4), x_title=f"{metric.title}, {unit}; {better}")]
    for place, (name, number, arm) in enumerate(found):
        parts.append(_row(metric, name, number, arm, x=x, top=_ROW * place))
    title = f"{metric.title}{_best(metric, found)}"
    of_group = f"{group.title}: {title}" if group.title else title
    key = f"{metric.title}, with intervals"
    return Chart(title, picture(_WIDTH, bottom + 44, *parts, title=of_group), is_small=True, key=key)


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


def _row(metric: Metric, name: str, number: int, arm: ReportArm | None, *, x: Scale, top: float) -> str:
    if arm is None or arm.summary is None or metric.name not in arm.summary.metrics:
        return _words(name, "no finished run", top)
    mean = arm.summary.metrics[metric.name].mean
    numbers = shown_value(metric, mean)
    interval = arm.intervals.get(metric.name)
    if interval is not None:
        numbers += f" ({shown_interval(metric, *interval)})"
    middle, end = top + 29, x.at(metric.scale * mean)
    tip = element("title", escaped(f"{name}: {metric.title} {numbers}"))
    column = f"column {color_class(number)}"
    parts = [element("rect", tip, css=column, x=x.start, y=middle - 7, width=max(end - x.start, 0.5), height=14)]
    if interval is not None:
        low, high = (x.at(max(metric.scale * value, 0.0)) for value in interval)
        parts.append(line_between((low, middle), (high, middle), css="whisker"))
        parts += [line_between((at, middle - 4), (at, middle + 4), css="whisker") for at in (low, high)]
    return "".join([*parts, _words(name, numbers, top)])


def _words(name: str, numbers: str, top: float) -> str:
    longest = int((_WIDTH - 2 * _SIDE) / TEXT_WIDTH) - len(numbers) - 2
    return text_at(_SIDE, top + 17, shortened(name, max(longest, 8)), css="label") + text_at(
        _WIDTH - _SIDE, top + 17, numbers, css="label", anchor="end"
    )
