"""The report of a study as Markdown: the words and tables of the page, and its charts as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dali_pipes.file_names import on_one_line
from reskd.pages.chart_files import ChartFile
from reskd.pages.odd_names import in_markdown
from reskd.pages.tables import markdown_table
from reskd.study.page.data import StudyReport
from reskd.study.page.tables import report_tables
from reskd.study.page.words import lead_sentences, reading_notes


def render_markdown(report: StudyReport, charts: Mapping[str, Sequence[ChartFile]] | None = None) -> str:
    """Names are text, never markup.

    Args:
        charts: heading -> the files of its charts.
    """
    sections = [f"# {in_markdown(report.title)}", *map(in_markdown, lead_sentences(report))]
    for heading, table in report_tables(report).items():
        sections += [f"## {heading}", in_markdown(table.caption), markdown_table(table)]
    for heading, files in (charts or {}).items():
        sections += [f"## {in_markdown(heading)}", *(f"![{in_markdown(one.title)}]({one.path})" for one in files)]
    sections += ["## How to read this", "\n".join(f"- {in_markdown(note)}" for note in reading_notes(report))]
    if report.commands:
        sections += ["## Commands", "\n".join(f"    {on_one_line(command)}" for command in report.commands)]
    if report.environment:
        rows = [f"| {in_markdown(name)} | {in_markdown(value)} |" for name, value in report.environment.items()]
        sections += ["## Environment", "\n".join(["| what | value |", "|---|---|", *rows])]
    return "\n\n".join(sections) + "\n"
