"""The charts of a study's report, as SVG that takes its colors from the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from reskd.pages.line_charts import finite, legend, thinned
from reskd.pages.svg import (
    TEXT_WIDTH,
    Chart,
    Scale,
    axes,
    color_class,
    element,
    escaped,
    line_between,
    marker,
    path_through,
    picture,
    scale_for,
    shortened,
    text_at,
)
from reskd.statistics.comparison import Difference
from reskd.statistics.metrics import Metric
from reskd.statistics.shown import shown_cost, shown_difference, shown_interval
from reskd.study.page.data import ReportArm, ReportComparison, StudyReport
from reskd.study.page.labels import Box, labels_beside, labels_near, width_beside

_WIDTH, _HEIGHT = 450.0, 310.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 14.0, 34.0, 46.0
_ROW_HEIGHT = 44.0
_MOST_VALUE_TICKS = 8  # of an axis with a tick at each arm
_MOST_NAMED = 9  # marks with their whole names; more arms have a legend
_MOST_BANDS = 4


class _Point(NamedTuple):
    """An arm in a chart: the number of its mark, its place, and the ends of its bar in y."""

    arm: ReportArm
    number: int
    x: float
    y: float
    low: float
    high: float
    deviation: float


def draw_charts(report: StudyReport) -> list[Chart]:
    """All charts for which the report has numbers."""
    charts, headline = [_draw_forest(metric, report.comparisons) for metric in report.metrics], report.metrics[0]
    charts += [
        _draw_scatter("computation", "GFLOPs a video", headline, _points(report, "gflops_per_video")),
        _draw_scatter("the network's time", "ms a video", headline, _points(report, "ms_per_video")),
        _draw_scatter("the time from file", "ms from file to scores", headline, _points(report, "ms_from_file")),
        _draw_lines(report.axis_title, headline, _points(report, "axis_values")),
    ]
    return [chart for chart in charts if chart] + _draw_curves(report)


def _points(report: StudyReport, attribute: str) -> list[_Point]:
    """The arms that have the report's headline metric and this attribute. Their bars are intervals on an axis, else
    deviations.
    """
    points, headline = [], report.metrics[0]
    for number, arm in enumerate(report.arms):
        if arm.summary is None or headline.name not in arm.summary.metrics:
            continue
        mean, deviation = arm.summary.metrics[headline.name]
        spread = mean - (deviation or 0), mean + (deviation or 0)
        found = getattr(arm, attribute)
        xs, ends = (
            (found, arm.intervals.get(headline.name, spread)) if attribute == "axis_values" else ([found], spread)
        )
        y, low, high, deviation = (headline.scale * value for value in (mean, *ends, deviation or 0))
        points += [_Point(arm, number, x, y, low, high, deviation) for x in xs if x is not None]
    return points


def _frame(points: Sequence[_Point], *, top: float = 0, right: float = _RIGHT) -> tuple[Scale, Scale]:
    """Scales of a picture with ``top`` above the usual and ``right`` beside them."""
    x = scale_for([point.x for point in points], _LEFT, _WIDTH - right, log_allowed=True, margin=0.12)
    ends = [end for point in points for end in (point.low, point.high)]
    return x, scale_for(ends, top + _HEIGHT - _BOTTOM, top + _TOP)


def _draw_scatter(cost: str, x_title: str, headline: Metric, points: Sequence[_Point]) -> Chart | None:
    if not points:
        return None
    key = f"{headline.title} against {cost}"
    title = f"{key}: {_highest(points)} is highest, {min(points, key=lambda point: point.x).arm.name} costs least"
    arms = {arm: number for number, arm in enumerate(dict.fromkeys(point.arm.arm for point in points))}
    names, top, labels = "", 0.0, [point.arm.name for point in points]
    if len(points) > _MOST_NAMED and len(arms) < len(points):  # a mark for each arm, labelled with the axes' values
        names, top = legend(arms, width=_WIDTH)
        points = [point._replace(number=arms[point.arm.arm]) for point in points]
        labels = [", ".join(point.arm.values) or point.arm.name for point in points]
    x, y = _frame(points, top=top)
    parts = [names, axes(x, y, x_title=x_title + (", logarithmic" if x.is_log else ""), y_title=_y_title(headline))]
    parts.append(path_through([(x.at(p.x), y.at(p.y)) for p in _frontier(points)], css="frontier"))
    parts += [_mark(point, x, y, (x_title, headline.title)) for point in points]
    places = [(x.at(point.x), y.at(point.y), label) for point, label in zip(points, labels, strict=True)]
    parts += labels_near(places, Box(2, top + 8, _WIDTH - 2, top + _HEIGHT - _BOTTOM))
    return Chart(title, picture(_WIDTH, top + _HEIGHT, *parts, title=title), key=key)


def _highest(points: Sequence[_Point]) -> str:
    best = max(points, key=lambda point: point.y)
    return best.arm.name


def _frontier(points: Sequence[_Point]) -> list[_Point]:
    """Those than which none is cheaper and at least as good, or as cheap and better: from the cheapest on."""
    found: list[_Point] = []
    for point in sorted(points, key=lambda one: (one.x, -one.y)):
        if not found or point.y > found[-1].y:
            found.append(point)
    return found


def _draw_lines(x_title: str, headline: Metric, points: Sequence[_Point]) -> Chart | None:
    if not points or not x_title:
        return None
    names = [point.arm.line or point.arm.name for point in points]
    x, y = _frame(points, right=width_beside(names))
    key = f"{headline.title} over {x_title}"
    title = f"{key}: {_highest(points)} is highest"
    values = sorted({point.x for point in points})
    ticks = values if len(values) <= _MOST_VALUE_TICKS else None
    parts = [axes(x, y, x_title=x_title, y_title=_y_title(headline), x_ticks=ticks)]
    ends, lines = [], list(dict.fromkeys(names))
    for number, line in enumerate(lines):
        of_line = sorted((p for p, name in zip(points, names, strict=True) if name == line), key=lambda point: point.x)
        if len(lines) <= _MOST_BANDS:
            edge = [(x.at(p.x), y.at(p.high)) for p in of_line] + [(x.at(p.x), y.at(p.low)) for p in reversed(of_line)]
            parts.append(path_through(edge, css=f"band {color_class(number)}"))
        parts.append(path_through([(x.at(p.x), y.at(p.y)) for p in of_line], css=f"line {color_class(number)}"))
        parts += [_mark(point._replace(number=number), x, y, (x_title, headline.title)) for point in of_line]
        ends.append((x.at(of_line[-1].x), y.at(of_line[-1].y), line))
    parts += labels_beside(ends, Box(_LEFT, _TOP, x.end, _HEIGHT - _BOTTOM))
    return Chart(title, picture(_WIDTH, _HEIGHT, *parts, title=title), key=key)


def _y_title(headline: Metric) -> str:
    return f"{headline.title}, per cent"


def _mark(point: _Point, x: Scale, y: Scale, titles: tuple[str, str]) -> str:
    """A mark with a bar of its deviation or interval; the titles are those of x and y."""
    place, css = x.at(point.x), f"bar {color_class(point.number)}"
    height, cost = f"{titles[1]} {point.y:.1f} +- {point.deviation:.1f} per cent", f"{shown_cost(point.x)} {titles[0]}"
    tip = f"{point.arm.name}: {height}, {cost}"
    bar = line_between((place, y.at(point.low)), (place, y.at(point.high)), css=css) if point.high > point.low else ""
    return bar + marker(place, y.at(point.y), point.number, tip=tip)


def _draw_forest(metric: Metric, rows: Sequence[ReportComparison]) -> Chart | None:
    """The differences in one metric with their intervals, and a dot for each seed."""
    found = [
        (row, one)
        for row in rows
        if row.comparison is not None
        for one in row.comparison.differences
        if one.metric.name == metric.name
    ]
    if not found:
        return None
    values = [metric.scale * v for _, one in found for v in (one.low, one.high, *one.of_seeds.values())]
    bottom = _ROW_HEIGHT * len(found) + 6
    x = scale_for([0.0, *values], _RIGHT, _WIDTH - _RIGHT)
    better = "left of 0 is better" if metric.lower_is_better else "right of 0 is better"
    parts = [axes(x, Scale(0, 1, bottom, 4), x_title=f"difference in {metric.title}, {metric.unit}; {better}")]
    for place, (row, one) in enumerate(found):
        parts.append(_forest_row(row, one, x, _ROW_HEIGHT * place))
    counts = Counter(one.verdict for _, one in found)
    verdicts = ", ".join(
        f"{counts[verdict]} {verdict}" for verdict in ("better", "worse", "undecided") if counts[verdict]
    )
    title, key = f"Differences in {metric.title}: {verdicts}", f"Differences in {metric.title}, with intervals"
    return Chart(title, picture(_WIDTH, bottom + 44, *parts, title=title), key=key)


def _forest_row(row: ReportComparison, one: Difference, x: Scale, top: float) -> str:
    metric, middle = one.metric, top + 32
    name = f"{row.arm} - {row.other}"
    numbers = f"{shown_difference(metric, one.value)} ({shown_interval(metric, one.low, one.high)}), {one.verdict}"
    longest = int((_WIDTH - 2 * _RIGHT) / TEXT_WIDTH) - len(numbers) - 2
    low, value, high = (x.at(metric.scale * v) for v in (one.low, one.value, one.high))
    seeds = [
        element(
            "circle",
            element("title", f"seed {seed}: {shown_difference(metric, difference)}"),
            css="seed",
            cx=x.at(metric.scale * difference),
            cy=middle,
            r=2.5,
        )
        for seed, difference in one.of_seeds.items()
    ]
    return "".join(
        [
            text_at(_RIGHT, top + 17, shortened(name, max(longest, 8)), css="label"),
            text_at(_WIDTH - _RIGHT, top + 17, numbers, css=f"label {one.verdict}", anchor="end"),
            line_between((x.at(0), middle - 9), (x.at(0), middle + 9), css="zero"),
            line_between((low, middle), (high, middle), css=f"interval {one.verdict}"),
            line_between((low, middle - 5), (low, middle + 5), css=f"interval {one.verdict}"),
            line_between((high, middle - 5), (high, middle + 5), css=f"interval {one.verdict}"),
            *seeds,
            element(
                "rect",
                element("title", escaped(f"{name}: {numbers}")),
                css=f"estimate {one.verdict}",
                x=value - 5,
                y=middle - 5,
                width=10,
                height=10,
            ),
        ]
    )


def _draw_curves(report: StudyReport) -> list[Chart]:
    """A small chart for each arm with curves, all with the same axes; what is not finite is left out."""
    curves = [(number, arm, [*filter(None, map(finite, arm.curves))]) for number, arm in enumerate(report.arms)]
    every = [point for _, _, of_arm in curves for curve in of_arm for point in curve]
    if not every:
        return []
    width, height = 300.0, 210.0
    x = scale_for([epoch for epoch, _ in every], 44, width - 10, margin=0.02)
    y = scale_for([value for _, value in every], height - 44, 30)
    charts = []
    for number, arm, of_arm in curves:
        if not of_arm:
            continue
        parts = [axes(x, y, x_title="epoch", y_title=report.curve_title)]
        for curve in of_arm:
            places = [(x.at(epoch), y.at(value)) for epoch, value in thinned(curve)]
            parts.append(path_through(places, css=f"curve {color_class(number)}"))
        title = f"{arm.name} ({len(of_arm)} run{'' if len(of_arm) == 1 else 's'})"
        svg = picture(width, height, *parts, title=f"Learning curves: {title}")
        charts.append(Chart(title, svg, is_small=True, key=arm.name))
    return charts
