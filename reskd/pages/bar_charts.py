"""Bars: named values with intervals, and histograms. SVG that takes its colors from the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

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

_WIDTH, _SIDE, _ROW = 450.0, 12.0, 42.0
_HEIGHT, _LEFT, _TOP, _BOTTOM = 250.0, 58.0, 28.0, 44.0
_NUM_BINS = 40


class Bar(NamedTuple):
    """A named value.

    Args:
        value: None: there is only its row, with ``shown``.
        shown: the value in words.
        interval: (low, high); None: no whisker.
        number: of its color.
        tip: shown where a pointer rests; default: name and value.
    """

    name: str
    value: float | None
    shown: str
    interval: tuple[float, float] | None = None
    number: int = 0
    tip: str = ""


def bar_chart(
    title: str, bars: Sequence[Bar], *, x_title: str, is_small: bool = False, width: float = _WIDTH, alone: str = ""
) -> Chart:
    """A row a bar, which starts at 0: above it its name and its value.

    Args:
        alone: title of the picture for readers who see it without its page; default: ``title``.
    """
    values = (bar.value for bar in bars if bar.value is not None)
    ends = [0.0, *values, *(end for bar in bars for end in bar.interval or ())]
    spread = scale_for(ends, _SIDE, width - _SIDE)
    x = Scale(0.0, max(spread.high, 1e-9), _SIDE, width - _SIDE)
    bottom = _ROW * len(bars) + 6
    parts = [axes(x, Scale(0, 1, bottom, 4), x_title=x_title)]
    parts += [_row(bar, x, _ROW * place, width) for place, bar in enumerate(bars)]
    return Chart(title, picture(width, bottom + 44, *parts, title=alone or title), is_small)


def _row(bar: Bar, x: Scale, top: float, width: float) -> str:
    parts = []
    if bar.value is not None:
        middle, end = top + 29, x.at(bar.value)
        tip = element("title", escaped(bar.tip or f"{bar.name}: {bar.shown}"))
        css = f"column {color_class(bar.number)}"
        parts.append(element("rect", tip, css=css, x=x.start, y=middle - 7, width=max(end - x.start, 0.5), height=14))
        if bar.interval is not None:
            low, high = (x.at(max(value, 0.0)) for value in bar.interval)
            parts.append(line_between((low, middle), (high, middle), css="whisker"))
            parts += [line_between((at, middle - 4), (at, middle + 4), css="whisker") for at in (low, high)]
    longest = max(int((width - 2 * _SIDE) / TEXT_WIDTH) - len(bar.shown) - 2, 8)
    parts.append(text_at(_SIDE, top + 17, shortened(bar.name, longest), css="label"))
    parts.append(text_at(width - _SIDE, top + 17, bar.shown, css="label", anchor="end"))
    return "".join(parts)


def histogram(title: str, values: Sequence[float], *, x_title: str, counted: str = "videos") -> Chart:
    """Counts in at most 40 bins of equal width, or of equal ratio where the values span a ratio of 4 or more."""
    low, high = float(min(values)), float(max(values))
    x = scale_for([low, high], _LEFT, _WIDTH - 12, log_allowed=True, margin=0.02)
    edges = np.geomspace(x.low, x.high, _NUM_BINS + 1) if x.is_log else np.linspace(x.low, x.high, _NUM_BINS + 1)
    counts = np.histogram(values, edges)[0]
    y = Scale(0.0, 1.08 * max(int(counts.max()), 1), _HEIGHT - _BOTTOM, _TOP)
    parts = [axes(x, y, x_title=x_title + (", logarithmic" if x.is_log else ""), y_title=counted, whole_y=True)]
    for count, left, right in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if count:
            tip = element("title", f"{left:.4g} to {right:.4g}: {count:,}")
            start, end, top = x.at(left), x.at(right), y.at(count)
            box = {"x": start, "y": top, "width": max(end - start - 0.6, 0.6), "height": y.start - top}
            parts.append(element("rect", tip, css="column c0", **box))
    return Chart(title, picture(_WIDTH, _HEIGHT, *parts, title=title))
