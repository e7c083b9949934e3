"""The report of a study: one HTML file that loads nothing from elsewhere, and the same tables as Markdown beside it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from dali_pipes.atomic_files import atomic_write_text
from reskd.pages.chart_files import write_charts
from reskd.pages.html import MAX_PAGE_BYTES, charts, commands, document, lead, listed, section, table
from reskd.pages.svg import Chart, element, escaped
from reskd.pages.tables import Cell, Table
from reskd.study.page.bars import draw_bars
from reskd.study.page.charts import draw_charts
from reskd.study.page.data import Picture, StudyReport
from reskd.study.page.markdown import render_markdown
from reskd.study.page.tables import report_tables
from reskd.study.page.words import lead_sentences, reading_notes

log = logging.getLogger(__name__)


def write_study_report(report: StudyReport, folder: Path) -> Path:
    """Write ``report.html`` and ``report.md`` with its charts into ``folder``, which exists; returns the first."""
    files = write_charts(_charts(report), folder)
    atomic_write_text(folder / "report.md", render_markdown(report, files))
    page = folder / "report.html"
    atomic_write_text(page, render_page(report))
    return page


def render_page(report: StudyReport) -> str:
    """The whole page. Pictures that would make it larger than ``MAX_PAGE_BYTES`` are left out and named."""
    tables = report_tables(report)
    sections = [
        element("h1", escaped(report.title)),
        lead(lead_sentences(report)),
        *(section(heading, table(one)) for heading, one in tables.items()),
        *(section(heading, charts(chosen)) for heading, chosen in _charts(report)),
        section("How to read this", listed(reading_notes(report))),
    ]
    if report.commands:
        sections.append(section("Commands", commands(report.commands)))
    if report.environment:
        rows = tuple((Cell(name), Cell(value)) for name, value in report.environment.items())
        sections.append(section("Environment", table(Table("", ("what", "value"), rows))))
    room_bytes = MAX_PAGE_BYTES - len(document(report.title, sections).encode()) - 20_000
    return document(report.title, [*sections, *_pictures(report.pictures, room_bytes)])


def _charts(report: StudyReport) -> Iterator[tuple[str, list[Chart]]]:
    """Headings with their charts, which are all small or all large."""
    yield from draw_bars(report)
    drawn = draw_charts(report)
    for heading, is_small in (("Charts", False), ("Learning curves", True)):
        if chosen := [chart for chart in drawn if chart.is_small == is_small]:
            yield heading, chosen


def _pictures(pictures: Sequence[Picture], room_bytes: int) -> list[str]:
    """The pictures that fit, and a sentence on those that do not."""
    if not pictures:
        return []
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
    return [section("Pictures", *shown)]
