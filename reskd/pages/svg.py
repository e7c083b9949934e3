"""SVG as text: elements, scales with ticks, and a frame with axes. Colors are CSS classes, so a page's theme sets them.

Lengths are in the units of the view box, about a pixel each.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dali_pipes.file_names import on_one_line
from reskd.pages.style import NUM_COLORS

TEXT_WIDTH = 6.6  # of a letter of the page's chart text, about


class Chart(NamedTuple):
    """An SVG and its title. Small ones stand beside each other under one heading, wide ones below each other.

    ``key`` names its file, where the title says what was found; "": the title does.
    """

    title: str
    svg: str
    is_small: bool = False
    is_wide: bool = False
    key: str = ""


def escaped(text: object) -> str:
    """For the content or a quoted attribute of an element: on one line, and never markup."""
    return html.escape(on_one_line(str(text)))


def element(name: str, *content: str, css: str = "", **attributes: float | str) -> str:
    """One element. ``content`` and ``attributes`` are escaped already; ``aria_label=`` gives ``aria-label``."""
    given = {"class": css, **attributes} if css else attributes
    shown = "".join(f' {key.replace("_", "-")}="{_attribute(value)}"' for key, value in given.items())
    return f"<{name}{shown}>{''.join(content)}</{name}>" if content else f"<{name}{shown}/>"


def text_at(x: float, y: float, text: str, *, css: str = "", anchor: str = "start") -> str:
    return element("text", escaped(text), css=css, x=x, y=y, text_anchor=anchor)


def line_between(a: tuple[float, float], b: tuple[float, float], *, css: str) -> str:
    return element("line", css=css, x1=a[0], y1=a[1], x2=b[0], y2=b[1])


def path_through(points: Sequence[tuple[float, float]], *, css: str) -> str:
    places = " L".join(f"{_attribute(x)} {_attribute(y)}" for x, y in points)
    return element("path", css=css, d=f"M{places}")


def marker(x: float, y: float, number: int, *, tip: str = "", size: float = 5) -> str:
    """The mark of the arm ``number``: one of six colors and four shapes, so that no color stands alone."""
    css = f"mark {color_class(number)}"
    inner = (element("title", escaped(tip)),) if tip else ()
    shape = number % 4
    if shape == 0:
        return element("circle", *inner, css=css, cx=x, cy=y, r=size)
    if shape == 1:
        return element("rect", *inner, css=css, x=x - size, y=y - size, width=2 * size, height=2 * size)
    corners = [(0, -1.3), (1.2, 0.9), (-1.2, 0.9)] if shape == 2 else [(0, -1.4), (1.4, 0), (0, 1.4), (-1.4, 0)]
    points = " ".join(f"{_attribute(x + size * dx)},{_attribute(y + size * dy)}" for dx, dy in corners)
    return element("polygon", *inner, css=css, points=points)


def color_class(number: int) -> str:
    return f"c{number % NUM_COLORS}"


def picture(width: float, height: float, *content: str, title: str) -> str:
    """A whole SVG that a screen reader calls ``title``."""
    return element(
        "svg", *content, css="chart", viewBox=f"0 0 {_attribute(width)} {_attribute(height)}", role="img",
        aria_label=escaped(title),
    )  # fmt: skip


def shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


@dataclass(frozen=True)
class Scale:
    """Values from ``low`` to ``high`` as places from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def at(self, value: float) -> float:
        low, high, value = (math.log(v) if self.is_log else v for v in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (value - low) / (high - low)

    def ticks(self) -> list[float]:
        """Round numbers within the scale."""
        if not self.is_log:
            step = _round_step((self.high - self.low) / 7)
            first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
            return [round(number * step, 10) for number in range(first, last + 1)]
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        factors = (1, 2, 5) if self.high / self.low < 300 else (1,)
        found = [factor * 10.0**power for power in powers for factor in factors]
        return [value for value in found if self.low <= value <= self.high]


def scale_for(
    values: Sequence[float], start: float, end: float, *, log_allowed: bool = False, margin: float = 0.08
) -> Scale:
    """A scale with room around the values; logarithmic, if that is allowed, from a ratio of 4 on."""
    low, high = min(values), max(values)
    if log_allowed and low > 0 and high / low >= 4:
        room = (high / low) ** margin
        return Scale(low / room, high * room, start, end, is_log=True)
    room = margin * (high - low) or abs(high) * margin or 1.0
    return Scale(low - room, high + room, start, end)


def axes(
    x: Scale,
    y: Scale,
    *,
    x_title: str,
    y_title: str | None = None,
    x_ticks: Sequence[float] | None = None,
    whole_y: bool = False,
) -> str:
    """Grid, ticks and titles.

    Args:
        x, y: ``x.start`` is the left edge, and ``y.start`` the bottom.
        y_title: None: y has no values.
        x_ticks: None: round numbers.
        whole_y: y counts: no ticks between whole numbers.
    """
    bottom, top = y.start, y.end
    parts = []
    for value in x.ticks() if x_ticks is None else x_ticks:
        parts.append(line_between((x.at(value), bottom), (x.at(value), top), css="grid"))
        parts.append(text_at(x.at(value), bottom + 17, f"{value:g}", css="tick", anchor="middle"))
    parts.append(text_at((x.start + x.end) / 2, bottom + 37, x_title, css="axis", anchor="middle"))
    if y_title is not None:
        for value in (tick for tick in y.ticks() if not whole_y or tick == round(tick)):
            parts.append(line_between((x.start, y.at(value)), (x.end, y.at(value)), css="grid"))
            parts.append(text_at(x.start - 7, y.at(value) + 4, f"{value:g}", css="tick", anchor="end"))
        parts.append(text_at(2, top - 10, y_title, css="axis"))
    return "".join(parts)


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * 0.999)


def _attribute(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
