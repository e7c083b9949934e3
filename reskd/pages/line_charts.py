"""Lines over time and points against the diagonal. SVG that takes its colors from the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

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
)

Points = Sequence[tuple[float, float]]
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _BOTTOM = 450.0, 290.0, 56.0, 12.0, 44.0
_LEGEND_LINE, _LONGEST_NAME = 18.0, 26
_MAX_POINTS = 200


def finite(points: Points) -> list[tuple[float, float]]:
    """Without the points of a loss that diverged."""
    return [point for point in points if all(map(math.isfinite, point))]


def thinned(points: Points) -> list[tuple[float, float]]:
    """At most ``_MAX_POINTS`` of the points that are finite, the last one among them."""
    whole = finite(points)
    step = -(-len(whole) // _MAX_POINTS) or 1
    return whole[::-1][::step][::-1]


def line_chart(title: str, lines: Mapping[str, Points], *, x_title: str, y_title: str) -> Chart | None:
    """A line for each name, in a color and dashes of its own, with a legend; None without a point."""
    drawn = {name: points for name, all_points in lines.items() if (points := thinned(all_points))}
    every = [point for points in drawn.values() for point in points]
    if not every:
        return None
    numbers = {name: number for number, name in enumerate(lines)}
    names, top = legend({name: numbers[name] for name in drawn}, css="run")
    x = scale_for([a for a, _ in every], _LEFT, _WIDTH - _RIGHT, margin=0.02)
    y = scale_for([b for _, b in every], top + _HEIGHT - 30 - _BOTTOM, top + 26)
    parts = [names, axes(x, y, x_title=x_title, y_title=y_title)]
    for name, points in drawn.items():
        places = [(x.at(a), y.at(b)) for a, b in points]
        parts.append(path_through(places, css=f"run {color_class(numbers[name])}"))
        if len(places) == 1:
            parts.append(marker(*places[0], numbers[name], tip=name))
    return Chart(title, picture(_WIDTH, y.start + _BOTTOM, *parts, title=title))


class Reliability(NamedTuple):
    """Of the answers of each certainty: their mean score, the share that is right, and how many they are."""

    score: Sequence[float]
    right: Sequence[float]
    size: Sequence[int]


def reliability_chart(title: str, models: Mapping[str, Reliability]) -> Chart:
    """Marks of each model, larger where there are more answers; on the diagonal answers are as right as certain."""
    names, top = legend({name: number for number, name in enumerate(models)})
    x = Scale(0.0, 1.02, _LEFT, _WIDTH - _RIGHT)
    y = Scale(-0.03, 1.03, top + 350 - _BOTTOM, top + 26)
    parts = [names, axes(x, y, x_title="score of the best answer", y_title="share that is right")]
    parts.append(line_between((x.at(0), y.at(0)), (x.at(1), y.at(1)), css="diagonal"))
    for number, (name, one) in enumerate(models.items()):
        most = max(one.size, default=1)
        for score, right, count in zip(one.score, one.right, one.size, strict=True):
            tip = f"{name}: {count:,} answers with a mean score of {score:.2f}, {right:.0%} right"
            parts.append(marker(x.at(score), y.at(right), number, tip=tip, size=3 + 5 * math.sqrt(count / most)))
    return Chart(title, picture(_WIDTH, y.start + _BOTTOM, *parts, title=title))


def legend(numbers: Mapping[str, int], *, css: str = "", width: float = _WIDTH) -> tuple[str, float]:
    """Names with their marks, or with lines of the class ``css``, and the height they take; a single one needs none."""
    if len(numbers) < 2:
        return "", 0.0
    parts, x, y = [], 8.0, 12.0
    for name, number in numbers.items():
        text = shortened(name, _LONGEST_NAME)
        of_name = 40 + TEXT_WIDTH * len(text)
        if x > 8 and x + of_name > width:
            x, y = 8.0, y + _LEGEND_LINE
        if css:
            parts.append(path_through([(x, y), (x + 26, y)], css=f"{css} {color_class(number)}"))
        else:
            parts.append(marker(x + 13, y, number))
        parts.append(element("text", element("title", escaped(name)) + escaped(text), x=x + 32, y=y + 4))
        x += of_name + 8
    return "".join(parts), y + 8
