from __future__ import annotations

import re
from pathlib import Path

import pytest

from reskd.study.page import page as report_page
from reskd.study.page.data import Picture
from reskd.study.page.markdown import render_markdown
from reskd.study.page.page import render_page, write_study_report
from tests.reskd.pages.parsed_page import Page, check_page
from tests.reskd.study.example import ODD, study


def test_every_metric_of_every_comparison_has_its_verdict() -> None:
    verdicts = [css for css, text in Page(render_page(study())).text_of_classes if css == text]
    one = ["better", "undecided", "worse", "better"]
    assert verdicts == [*one, *one, "diverged"]


def test_the_verdict_in_words_stands_first() -> None:
    paragraphs = re.findall(r"<p>(.*?)</p>", render_page(study()))
    assert paragraphs[0].startswith(
        "student compared with baseline (2 seeds, 1,334 videos in 50 groups): better in top-1 (+3.1 points, 95 % "
        "interval 0.8 to 5.2), undecided in mAP"
    )


def test_names_are_text_wherever_they_stand() -> None:
    page = Page(render_page(study()))
    assert "b" not in {tag for tag, _ in page.tags}
    assert ODD in page.texts
    assert any(f"loss is NaN in {ODD}" in text for text in page.texts)
    assert ("img", {"src": "data:image/png;base64,iVBORw0KGgo=", "alt": ODD}) in page.tags
    assert any("--name '<x>' && echo done" in text for text in page.texts)


def test_names_that_are_not_utf8_can_be_written(tmp_path: Path) -> None:
    path = write_study_report(study(title="caf\udce9\nnext"), tmp_path)
    assert "<h1>caf\\udce9\\nnext</h1>" in path.read_text(encoding="utf-8")


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    check_page(render_page(study()))


def test_every_color_is_a_variable_with_a_light_and_a_dark_value() -> None:
    style = re.findall(r"<style>(.*?)</style>", render_page(study()), re.DOTALL)[0]
    light, dark = style.split("@media (prefers-color-scheme: dark)", 1)
    colors = set(re.findall(r"(--\w+): #", light))
    assert len(colors) == 15
    rest = dark.split("} }", 1)
    assert set(re.findall(r"(--\w+): #", rest[0])) == colors
    assert not re.search(r"#[0-9a-f]{3,6}\b", rest[1])


def test_tables_have_captions_and_header_cells() -> None:
    page = Page(render_page(study()))
    assert {"caption", "thead"} <= {tag for tag, _ in page.tags}
    headers = [attributes for tag, attributes in page.tags if tag == "th"]
    assert {attributes["scope"] for attributes in headers} == {"col", "row"}
    assert any(attributes.get("rowspan") == "4" for attributes in headers)


def test_pictures_that_would_make_the_page_too_large_are_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(report_page, "MAX_PAGE_BYTES", 150_000)
    small, large = (Picture(name, f"data:image/png;base64,{'A' * size}") for name, size in (("s", 400), ("l", 150_000)))
    page = render_page(study(pictures=(large, small)))
    assert len(page.encode()) <= 150_000
    assert [dict(attributes)["alt"] for tag, attributes in Page(page).tags if tag == "img"] == ["s"]
    assert "Left out, as the page would be larger than 0.15 MB: l." in page
    assert "Left out" in caplog.text


def test_the_same_tables_are_written_as_markdown(tmp_path: Path) -> None:
    path = write_study_report(study(), tmp_path)
    assert path == tmp_path / "report.html"
    assert path.read_text(encoding="utf-8") == render_page(study())
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    without_charts = re.sub(r"## [^\n]*\n\n(!\[[^\n]*\n\n)+", "", text)
    assert without_charts == render_markdown(study())


def test_a_study_without_results_has_a_page() -> None:
    page = render_page(
        study(arms=(), comparisons=(), gaps=(), failures=(), pictures=(), commands=(), environment={}, notes=())
    )
    assert "0 of 0 planned runs are done." in page
    Page(page)
