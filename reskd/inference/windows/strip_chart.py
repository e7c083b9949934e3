"""Draws windows over time as an SVG: a row for each class, darker where its score is higher, times below.

Shape letters: N windows, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dali_pipes.atomic_files import atomic_write_text
from reskd.inference.windows.long_videos import WindowAnswer
from reskd.pages.svg import element, escaped, shortened, text_at

_MOST_CLASSES = 8  # rows of a video
_MOST_COLUMNS = 800  # about one a pixel: windows of a longer video are drawn by the highest score of several
_ROW, _LEFT, _STRIP, _RIGHT, _TOP = 20, 190, 800, 90, 34
_STYLE = (
    ":root{color-scheme:light dark;--page:#fff;--ink:#1b1f24;--soft:#59636e;--rule:#d5dae0;--score:#0072b2}"
    "@media(prefers-color-scheme:dark){:root{--page:#14171b;--ink:#e6e9ed;--soft:#a3adb8;--rule:#39414a;--score:#5cb3ea}}"
    "svg{background:var(--page);font:12px system-ui,sans-serif}text{fill:var(--ink)}.soft{fill:var(--soft)}"
    ".frame{fill:none;stroke:var(--rule)}.score{fill:var(--score)}.tick{stroke:var(--rule)}.name{font-weight:600}"
)
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)


@dataclass
class Strip:
    """The windows of one video, as they come."""

    file: str
    starts_s: list[float] = field(default_factory=list)
    ends_s: list[float] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)

    def add(self, found: WindowAnswer) -> None:
        self.starts_s.append(found.start_s)
        self.ends_s.append(found.end_s)
        self.scores.append(found.scores_K.numpy().astype(np.float16))


def draw_strip_charts(strips: Sequence[Strip], class_names: Sequence[str], path: Path) -> None:
    """Write one SVG with a chart for each video, one below the other.

    A class has a row if it is the best one in some window: those that are best most often, at most eight.
    """
    parts, top = [element("style", _STYLE)], 8.0
    for strip in strips:
        drawn, height = _chart(strip, class_names, top)
        parts += drawn
        top += height
    width = _LEFT + _STRIP + _RIGHT
    title = f"Class scores over time of {len(strips)} video{'s' * (len(strips) > 1)}"
    svg = element(
        "svg", *parts, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width} {top:g}", width=width,
        height=round(top), role="img", aria_label=title,
    )  # fmt: skip
    atomic_write_text(path, svg + "\n")


def _chart(strip: Strip, class_names: Sequence[str], top: float) -> tuple[list[str], float]:
    """The elements of one video, and their height."""
    scores_NK = np.stack(strip.scores).astype(np.float32)
    rows = _rows(scores_NK)
    end_s = max(strip.ends_s)
    parts = [text_at(8, top + 14, shortened(strip.file, 120), css="name")]
    parts.append(text_at(8, top + 29, f"{len(scores_NK)} windows, {clock(end_s, 1)}; dark: score 100 %", css="soft"))
    top += _TOP
    for row, class_number in enumerate(rows):
        y = top + row * _ROW
        parts.append(text_at(_LEFT - 8, y + 14, shortened(class_names[class_number], 26), anchor="end"))
        parts += _cells(strip, scores_NK[:, class_number], end_s, y, class_names[class_number])
        parts.append(element("rect", css="frame", x=_LEFT, y=y, width=_STRIP, height=_ROW))
        best = f"{int((scores_NK.argmax(1) == class_number).sum())} best"
        parts.append(text_at(_LEFT + _STRIP + 8, y + 14, best, css="soft"))
    bottom = top + len(rows) * _ROW
    parts += _axis(end_s, bottom)
    return parts, _TOP + len(rows) * _ROW + 36


def _rows(scores_NK: np.ndarray) -> list[int]:
    counts = np.bincount(scores_NK.argmax(1), minlength=scores_NK.shape[1])
    often = sorted(np.flatnonzero(counts).tolist(), key=lambda number: (-counts[number], number))
    return often[:_MOST_CLASSES]


def _cells(strip: Strip, scores_N: np.ndarray, end_s: float, y: float, name: str) -> list[str]:
    """A rectangle for each column. Of windows that overlap, a time shows the one whose middle is nearest."""
    middles_N = (np.array(strip.starts_s) + np.array(strip.ends_s)) / 2
    edges_N = [0.0, *((middles_N[:-1] + middles_N[1:]) / 2).tolist(), end_s]
    together = -(-len(scores_N) // _MOST_COLUMNS)
    cells = []
    for first in range(0, len(scores_N), together):
        last = min(first + together, len(scores_N))
        score = float(scores_N[first:last].max())
        if score < 0.005:
            continue
        left, right = (_LEFT + _STRIP * edges_N[index] / (end_s or 1) for index in (first, last))
        tip = f"{name} {score:.0%}, {clock(strip.starts_s[first], 1)} to {clock(strip.ends_s[last - 1], 1)}"
        cells.append(
            element(
                "rect", element("title", escaped(tip)), css="score", x=round(left, 2), y=y,
                width=round(max(right - left, 0.3), 2), height=_ROW, fill_opacity=round(score, 3),
            )
        )  # fmt: skip
    return cells


def _axis(end_s: float, bottom: float) -> list[str]:
    step_s = next((step for step in _STEPS_S if end_s / step <= 10), _STEPS_S[-1])
    digits = 1 if step_s < 1 else 0
    parts = []
    for number in range(int(end_s / step_s) + 1):
        x = _LEFT + _STRIP * number * step_s / (end_s or 1)
        parts.append(element("line", css="tick", x1=x, y1=bottom, x2=x, y2=bottom + 5))
        parts.append(text_at(x, bottom + 18, clock(number * step_s, digits), css="soft", anchor="middle"))
    return parts


def clock(seconds: float, digits: int = 0) -> str:
    """Hours, minutes and seconds, as 1:02:03, 2:03 or 3.5 s."""
    if seconds < 60:
        return f"{seconds:.{digits}f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
