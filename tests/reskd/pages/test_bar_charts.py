from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from reskd.pages.bar_charts import Bar, bar_chart, histogram


def columns(svg: str) -> list[ElementTree.Element]:
    return [node for node in ElementTree.fromstring(svg).iter("rect") if "column" in node.get("class", "")]


def test_bars_start_at_zero_and_are_as_long_as_their_values() -> None:
    bars = [Bar("a <b>", 80.0, "80.0 (70.0 to 90.0)", (70.0, 90.0), 1), Bar("b", 40.0, "40.0"), Bar("c", 0.0, "0")]
    chart = bar_chart("a is highest", bars, x_title="top-1")
    lengths = [float(node.get("width", "")) for node in columns(chart.svg)]
    assert lengths[0] == pytest.approx(2 * lengths[1], rel=1e-3) and lengths[2] == 0.5
    assert {node.get("x") for node in columns(chart.svg)} == {"12"}
    assert chart.svg.count("whisker") == 3 and "a &lt;b&gt;" in chart.svg


def test_a_histogram_counts_every_value_and_its_axis_has_whole_numbers() -> None:
    values = np.random.default_rng(0).lognormal(5, 1, 500)
    chart = histogram("length", values.tolist(), x_title="frames")
    tips = [node[0].text or "" for node in columns(chart.svg)]
    assert sum(int(tip.rpartition(": ")[2]) for tip in tips) == 500
    assert "frames, logarithmic" in chart.svg
    assert ">0.5<" not in histogram("two", [1, 9], x_title="frames").svg


@pytest.mark.parametrize("values", [[5.0], [5.0, 5.0], [1.0, 2.0], [0.0, 3.0]])
def test_any_values_have_a_histogram(values: list[float]) -> None:
    assert sum(
        int((node[0].text or "").rpartition(": ")[2]) for node in columns(histogram("x", values, x_title="x").svg)
    ) == (len(values))
