"""The charts of a study as files of their own, which Markdown pages can show: ``charts/NAME.svg``."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from dali_pipes.atomic_files import atomic_write_text
from dali_pipes.file_names import on_one_line
from reskd.pages.style import STYLE
from reskd.pages.svg import TEXT_WIDTH, Chart, text_at

FOLDER = "charts"
_OF_FILES = (
    "svg.chart { background: var(--page); font-family: system-ui, sans-serif; } .chart text.title { font-weight: 600; }"
)
_VIEW_BOX = re.compile(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"')
_TITLE_LINE, _TITLE_LETTER = 18, 1.15 * TEXT_WIDTH  # bold letters are wider


class ChartFile(NamedTuple):
    """``path`` is relative to the report's folder."""

    title: str
    path: str


def write_charts(charts: Iterable[tuple[str, Sequence[Chart]]], folder: Path) -> dict[str, list[ChartFile]]:
    """Write the charts of each heading; heading -> its files. A file's name is its heading and key or title.

    Args:
        folder: of the report, which exists.
    """
    (folder / FOLDER).mkdir(exist_ok=True)
    written: dict[str, list[ChartFile]] = {}
    names: set[str] = set()
    for heading, of_heading in charts:
        for chart in of_heading:
            name = _free_name(f"{heading} {chart.key or chart.title}", names)
            names.add(name)
            atomic_write_text(folder / FOLDER / f"{name}.svg", standalone(chart.svg, chart.title))
            written.setdefault(heading, []).append(ChartFile(chart.title, f"{FOLDER}/{name}.svg"))
    return written


def standalone(svg: str, title: str = "") -> str:
    """The SVG of a page as a file of its own: with its namespace and style, and the title in the picture."""
    head, _, rest = svg.partition(">")
    found = _VIEW_BOX.search(head)
    if title and found:
        width, height = float(found[1]), float(found[2])
        lines = textwrap.wrap(on_one_line(title), max(int(width / _TITLE_LETTER), 20))
        room = _TITLE_LINE * len(lines) + 6
        head = _VIEW_BOX.sub(f'viewBox="0 {-room:g} {width:g} {height + room:g}"', head)
        words = [text_at(2, _TITLE_LINE * (place + 1) - room, line, css="title") for place, line in enumerate(lines)]
        rest = "".join(words) + rest
    return f'{head} xmlns="http://www.w3.org/2000/svg"><style>{STYLE}{_OF_FILES}</style>{rest}\n'


def _free_name(text: str, taken: set[str]) -> str:
    stem = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:80] or "chart"
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}-{number}", number + 1
    return name
