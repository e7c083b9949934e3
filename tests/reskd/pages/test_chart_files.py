"""The charts beside report.md: whole SVG files with the page's style, one name each, all of them linked."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from reskd.pages.chart_files import ChartFile, standalone, write_charts
from reskd.pages.svg import Chart
from reskd.study.page.page import write_study_report
from tests.reskd.study.example import study

SVG = '<svg class="chart" viewBox="0 0 2 2"><text class="label">a &amp; b</text></svg>'


def test_a_file_is_an_svg_with_its_own_style() -> None:
    root = ElementTree.fromstring(standalone(SVG))
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and root.attrib["viewBox"] == "0 0 2 2"
    style, text = root
    assert "prefers-color-scheme: dark" in (style.text or "") and text.text == "a & b"


def test_charts_with_one_title_have_names_of_their_own(tmp_path: Path) -> None:
    charts = [Chart("top-1, <100 %", SVG), Chart("top-1, 100 %", SVG), Chart("\u00e9", SVG)]
    assert write_charts([("A/B", charts), ("\u00e9", charts[2:])], tmp_path) == {
        "A/B": [
            ChartFile("top-1, <100 %", "charts/a-b-top-1-100.svg"),
            ChartFile("top-1, 100 %", "charts/a-b-top-1-100-2.svg"),
            ChartFile("\u00e9", "charts/a-b.svg"),
        ],
        "\u00e9": [ChartFile("\u00e9", "charts/chart.svg")],
    }
    assert len(list((tmp_path / "charts").iterdir())) == 4


def test_the_markdown_shows_every_chart_of_the_page(tmp_path: Path) -> None:
    write_study_report(study(), tmp_path)
    shown = re.findall(r"!\[[^\n]*\]\((charts/[a-z0-9-]+\.svg)\)", (tmp_path / "report.md").read_text(encoding="utf-8"))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert len(shown) == page.count("<svg") > 3
    assert {str(path.relative_to(tmp_path)) for path in (tmp_path / "charts").iterdir()} == set(shown)
    for path in shown:
        ElementTree.parse(tmp_path / path)
