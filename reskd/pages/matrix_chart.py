"""A matrix of counts: which class is answered for which. SVG that takes its colors from the page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reskd.pages.svg import TEXT_WIDTH, Chart, element, escaped, picture, shortened, text_at

_CELL, _LONGEST_NAME, _LONGEST_TIP, _LEAST_WIDTH = 20.0, 24, 60, 450.0
_NUMBERED = 20  # classes up to which each cell has its number


def matrix_chart(title: str, names: Sequence[str], counts_SS: np.ndarray, totals_S: np.ndarray) -> Chart:
    """Rows are the true classes and columns the answers; a cell is as full as its share of the row.

    Args:
        names: S of them, of rows and columns.
        counts_SS: int64.
        totals_S: videos of each row, those of answers that are not shown included.
    """
    shown = [shortened(name, _LONGEST_NAME) for name in names]
    side = 14 + 1.15 * TEXT_WIDTH * max(map(len, shown), default=0)
    cell = 26.0 if len(names) <= _NUMBERED else _CELL
    size = cell * len(names)
    parts = [_cell(row, column, cell, side, counts_SS, totals_S, names) for row, column in _filled(counts_SS)]
    for place, name in enumerate(shown):
        middle = side + cell * (place + 0.5)
        parts.append(text_at(side - 6, middle + 4, name, anchor="end"))
        turned = f"rotate(-90 {middle + 4:.1f} {side - 6:.1f})"
        parts.append(element("text", escaped(name), x=middle + 4, y=side - 6, transform=turned))
    frame: dict[str, float | str] = {"x": side, "y": side, "width": size, "height": size, "fill": "none"}
    parts.append(element("rect", css="grid", **frame))
    parts.append(text_at(side + size / 2, side + size + 18, "answer", css="axis", anchor="middle"))
    parts.append(text_at(4, side - 6, "class", css="axis"))
    width = max(side + size + 6, _LEAST_WIDTH)
    return Chart(title, picture(width, side + size + 26, *parts, title=title), is_wide=width > 1.2 * _LEAST_WIDTH)


def _filled(counts_SS: np.ndarray) -> list[tuple[int, int]]:
    return [(int(row), int(column)) for row, column in zip(*np.nonzero(counts_SS), strict=True)]


def _cell(
    row: int, column: int, cell: float, side: float, counts_SS: np.ndarray, totals_S: np.ndarray, names: Sequence[str]
) -> str:
    count, share = int(counts_SS[row, column]), float(counts_SS[row, column] / max(1, totals_S[row]))
    x, y = side + cell * column, side + cell * row
    of_row, of_column = (shortened(names[place], _LONGEST_TIP) for place in (row, column))
    tip = element("title", escaped(f"{of_row} answered as {of_column}: {count:,} of {int(totals_S[row]):,}"))
    box: dict[str, float | str] = {
        "x": x + 0.5,
        "y": y + 0.5,
        "width": cell - 1,
        "height": cell - 1,
        "fill_opacity": f"{share:.2f}",
    }
    text = text_at(x + cell / 2, y + cell / 2 + 4, f"{count}", anchor="middle") if len(names) <= _NUMBERED else ""
    return element("rect", tip, css="cell", **box) + text
