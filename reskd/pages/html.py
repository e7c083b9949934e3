"""HTML as text: a whole page that loads nothing and runs nothing, its sections, tables, charts and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from reskd.pages.style import STYLE
from reskd.pages.svg import Chart, element, escaped
from reskd.pages.tables import Cell, Table

MAX_PAGE_BYTES = 5_000_000


class Thumbnail(NamedTuple):
    """A small picture with words below it.

    Args:
        name: of what it shows.
        image: a data URI; "" if there is none.
        missing: why there is no image.
        lines: below the picture; pairs of a CSS class and a text.
        described: the image in words, for those who do not see it.
    """

    name: str
    image: str
    missing: str
    lines: tuple[tuple[str, str], ...]
    described: str


def document(title: str, sections: Sequence[str]) -> str:
    """The whole page. A content security policy forbids scripts and everything that is not in the page.

    Args:
        sections: elements, escaped already.
    """
    head = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        f"{element('title', escaped(title))}\n<style>{STYLE}</style>\n</head>\n<body>\n"
    )
    rest = "\n".join(sections)
    return f"{head}<main>\n{rest}\n</main>\n</body>\n</html>\n"


def lead(sentences: Sequence[str], *, answer: bool = False) -> str:
    """The first paragraph of a page; with ``answer`` its first sentence is larger."""
    first = [element("p", words(sentences[0]), css="answer")] if answer and sentences else []
    return element("div", *first, *(element("p", words(one)) for one in sentences[len(first) :]), css="lead")


def listed(sentences: Sequence[str], *, css: str = "") -> str:
    return element("ul", *(element("li", words(one)) for one in sentences), css=css)


def commands(lines: Sequence[str]) -> str:
    return element("pre", element("code", "\n".join(map(escaped, lines))))


def charts(shown: Sequence[Chart]) -> str:
    """Charts beside each other, all small or all large, or below each other if one needs the width."""
    css = "charts small" if shown and shown[0].is_small else "charts"
    return element("div", *map(figure, shown), css=f"{css} wide" if any(one.is_wide for one in shown) else css)


def thumbnails(shown: Sequence[Thumbnail]) -> str:
    return element("ul", *map(_thumbnail, shown), css="thumbs")


def _thumbnail(one: Thumbnail) -> str:
    image = element("div", words(one.missing or "no picture"), css="gone")
    if one.image:
        image = element("img", src=escaped(one.image), alt=escaped(one.described), loading="lazy")
    lines = [element("p", words(text), css=css) for css, text in one.lines]
    return element("li", image, *lines, element("p", escaped(one.name), css="name"))


def section(heading: str, *content: str) -> str:
    return element("section", element("h2", escaped(heading)), *content)


def table(table: Table) -> str:
    """A table with its caption; rows with an equal first cell share it."""
    kinds = [cell.kind for cell in table.rows[0]] if table.rows else ["text"] * len(table.titles)
    titles = "".join(
        element("th", words(title), css="number" if kind == "number" else "", scope="col")
        for title, kind in zip(table.titles, kinds, strict=True)
    )
    caption = element("caption", element("span", words(table.caption))) if table.caption else ""
    rows = "".join(_rows(table.rows))
    inner = element("table", caption, element("thead", element("tr", titles)), element("tbody", rows))
    # A reader without a mouse can scroll only what takes the focus.
    return element("div", inner, css="scroll", tabindex="0", role="region", aria_label=escaped(table.titles[0]))


def _rows(rows: Sequence[Sequence[Cell]]) -> Iterator[str]:
    for first, equal in groupby(rows, key=lambda row: row[0]):
        together = list(equal)
        for place, row in enumerate(together):
            span = {"rowspan": str(len(together))} if len(together) > 1 else {}
            header = "" if place else element("th", words(first.text) or " ", scope="row", **span)
            yield element("tr", header, *map(_cell, row[1:]))


def _cell(cell: Cell) -> str:
    return element("td", words(cell.text) or " ", css="" if cell.kind == "text" else cell.kind)


def figure(chart: Chart) -> str:
    return element("figure", element("figcaption", escaped(chart.title)), chart.svg)


def words(text: str) -> str:
    """Escaped text with a real plus-minus sign between two numbers."""
    return escaped(text).replace(" +- ", " &#177; ")
