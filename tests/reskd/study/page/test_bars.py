from __future__ import annotations

from xml.etree import ElementTree

import pytest

from reskd.study.page.bars import draw_bars
from reskd.study.page.charts import Chart
from reskd.study.page.page import render_page
from tests.reskd.study.example import ODD, study


def nodes(chart: Chart, css: str) -> list[ElementTree.Element]:
    return [node for node in ElementTree.fromstring(chart.svg).iter() if (node.get("class") or "").startswith(css)]


def texts(chart: Chart) -> list[str]:
    return [node.text or "" for node in ElementTree.fromstring(chart.svg).iter("text")]


def test_every_group_has_a_chart_for_top1_map_and_log_loss() -> None:
    found = draw_bars(study())
    assert [title for title, _ in found] == ["Levels", "Arms side by side"]
    keys = ["top-1, with intervals", "mAP, with intervals", "log loss, with intervals"]
    assert [[chart.key for chart in charts] for _, charts in found] == [keys, keys]
    assert found[0][1][0].title == "top-1: student is highest" and found[1][1][0].title == "top-1, with its interval"
    assert draw_bars(study(bars=())) == []


def test_bars_begin_at_zero_and_show_mean_and_interval() -> None:
    (_, charts), _ = draw_bars(study())
    top1, _, log_loss = charts
    columns = {node[0].text: node for node in nodes(top1, "column")}
    lengths = {str(name).partition(":")[0]: float(node.get("width", "0")) for name, node in columns.items()}
    assert {node.get("x") for node in columns.values()} == {"12"}
    assert lengths["student"] / lengths["baseline"] == pytest.approx(80 / 76.9, rel=2e-3)
    assert lengths["student"] / lengths[ODD] == pytest.approx(80 / 70, rel=2e-3)
    assert "80.0 (77.0 to 84.0)" in texts(top1)
    assert "1.250 (1.100 to 1.500)" in texts(log_loss)
    whisker = nodes(top1, "whisker")[0]
    scale = lengths["baseline"] / 76.9
    assert float(whisker.get("x1", "0")) == pytest.approx(12 + 77 * scale, abs=0.3)
    assert float(whisker.get("x2", "0")) == pytest.approx(12 + 84 * scale, abs=0.3)
    assert any("lower is better" in text for text in texts(log_loss))


def test_an_arm_without_a_result_keeps_its_place_and_says_so() -> None:
    (_, charts), _ = draw_bars(study())
    assert {"not run", "no finished run"} <= set(texts(charts[0]))
    assert len(nodes(charts[0], "column")) == 3


def test_bars_stand_before_the_other_charts_and_names_are_text() -> None:
    page = render_page(study())
    assert page.index("<h2>Levels</h2>") < page.index("<h2>Arms side by side</h2>") < page.index("<h2>Charts</h2>")
    assert ODD not in page
