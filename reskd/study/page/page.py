"""The report of a study: one HTML file that loads nothing from elsewhere, and the same tables as Markdown beside it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from dali_pipes.atomic_files import atomic_write_text
from reskd.study.page.bars import draw_bars
from reskd.study.page.chart_files import write_charts
from reskd.study.page.charts import Chart, draw_charts
from reskd.study.page.data import Picture, StudyReport
from reskd.study.page.markdown import render_markdown
from reskd.study.page.style import STYLE
from reskd.study.page.svg import element, escaped
from reskd.study.page.tables import Cell, Table, report_tables
from reskd.study.page.words import lead_sentences, reading_notes

MAX_PAGE_BYTES = 5_000_000

log = logging.getLogger(__name__)


def write_study_report(report: StudyReport, folder: Path) -> Path:
    """Write ``report.html`` and ``report.md`` with its charts into ``folder``, which exists; returns the first."""
    files = write_charts(_charts(report), folder)
    atomic_write_text(folder / "report.md", render_markdown(report, files))
    page = folder / "report.html"
    atomic_write_text(page, render_page(report))
    return page


def render_page(report: StudyReport) -> str:
    """The whole page. Pictures that would make it larger than ``MAX_PAGE_BYTES`` are left out and named.

    A content security policy forbids scripts and everything that is not in the page.
    """
    head = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        f"{element('title', escaped(report.title))}\n<style>{STYLE}</style>\n</head>\n<body>\n"
    )
    tables = report_tables(report)
    sections = [
        element("h1", escaped(report.title)),
        element("div", *(element("p", _words(sentence)) for sentence in lead_sentences(report)), css="lead"),
        *(_section(heading, _table(table)) for heading, table in tables.items()),
        *_chart_sections(report),
        _section("How to read this", element("ul", *(element("li", _words(note)) for note in reading_notes(report)))),
    ]
    if report.commands:
        lines = "\n".join(map(escaped, report.commands))
        sections.append(_section("Commands", element("pre", element("code", lines))))
    if report.environment:
        rows = tuple((Cell(name), Cell(value)) for name, value in report.environment.items())
        sections.append(_section("Environment", _table(Table("", ("what", "value"), rows))))
    rest = "\n".join(sections)
    pictures = _pictures(report.pictures, MAX_PAGE_BYTES - len((head + rest).encode()) - 20_000)
    return f"{head}<main>\n{rest}\n{pictures}</main>\n</body>\n</html>\n"


def _section(heading: str, *content: str) -> str:
    return element("section", element("h2", escaped(heading)), *content)


def _table(table: Table) -> str:
    """A table with its caption; rows with an equal first cell share it."""
    kinds = [cell.kind for cell in table.rows[0]] if table.rows else ["text"] * len(table.titles)
    titles = "".join(
        element("th", _words(title), css="number" if kind == "number" else "", scope="col")
        for title, kind in zip(table.titles, kinds, strict=True)
    )
    caption = element("caption", element("span", _words(table.caption))) if table.caption else ""
    rows = "".join(_rows(table.rows))
    inner = element("table", caption, element("thead", element("tr", titles)), element("tbody", rows))
    # A reader without a mouse can scroll only what takes the focus.
    return element("div", inner, css="scroll", tabindex="0", role="region", aria_label=escaped(table.titles[0]))


def _rows(rows: Sequence[Sequence[Cell]]) -> Iterator[str]:
    for first, equal in groupby(rows, key=lambda row: row[0]):
        together = list(equal)
        for place, row in enumerate(together):
            span = {"rowspan": str(len(together))} if len(together) > 1 else {}
            header = "" if place else element("th", _words(first.text) or " ", scope="row", **span)
            yield element("tr", header, *map(_cell, row[1:]))


def _cell(cell: Cell) -> str:
    return element("td", _words(cell.text) or " ", css="" if cell.kind == "text" else cell.kind)


def _chart_sections(report: StudyReport) -> Iterator[str]:
    for heading, charts in _charts(report):
        css = "charts small" if charts[0].is_small else "charts"
        yield _section(heading, element("div", *map(_figure, charts), css=css))


def _charts(report: StudyReport) -> Iterator[tuple[str, list[Chart]]]:
    """Headings with their charts, which are all small or all large."""
    yield from draw_bars(report)
    charts = draw_charts(report)
    for heading, is_small in (("Charts", False), ("Learning curves", True)):
        if chosen := [chart for chart in charts if chart.is_small == is_small]:
            yield heading, chosen


def _figure(chart: Chart) -> str:
    return element("figure", element("figcaption", escaped(chart.title)), chart.svg)


def _pictures(pictures: Sequence[Picture], room_bytes: int) -> str:
    """The pictures that fit, and a sentence on those that do not."""
    if not pictures:
        return ""
    shown, left_out = [], []
    for one in pictures:
        image = element("img", src=escaped(one.data_uri), alt=escaped(one.title))
        figure = element("figure", element("figcaption", escaped(one.title)), image)
        if len(figure.encode()) <= room_bytes:
            room_bytes -= len(figure.encode())
            shown.append(figure)
        else:
            left_out.append(one.title)
    if left_out:
        sentence = f"Left out, as the page would be larger than {MAX_PAGE_BYTES / 1e6:g} MB: {', '.join(left_out)}."
        log.warning("report.html: %s", sentence)
        shown.append(element("p", escaped(sentence)))
    return _section("Pictures", *shown)


def _words(text: str) -> str:
    """Escaped text with a real plus-minus sign between two numbers."""
    return escaped(text).replace(" +- ", " &#177; ")
