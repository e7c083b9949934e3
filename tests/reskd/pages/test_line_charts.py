from __future__ import annotations

from xml.etree import ElementTree

from reskd.pages.line_charts import Reliability, line_chart, reliability_chart, thinned


def test_long_curves_are_thinned_and_their_last_point_stays() -> None:
    points = [(float(x), 2.0 * x) for x in range(10_001)]
    assert len(thinned(points)) <= 200 and thinned(points)[-1] == points[-1]
    assert thinned([(1.0, float("nan")), (2.0, 3.0)]) == [(2.0, 3.0)]


def test_a_run_keeps_its_color_and_dashes_where_others_lack_the_metric() -> None:
    lines = {"baseline": [], "student <x>": [(1.0, 2.0), (2.0, 1.0)], "teacher": [(1.0, 1.0)]}
    chart = line_chart("loss", lines, x_title="epoch", y_title="loss")
    assert chart is not None
    svg = ElementTree.fromstring(chart.svg)
    paths = [node.get("class") for node in svg.iter("path") if "run" in node.get("class", "")]
    assert paths.count("run c1") == 2 and paths.count("run c2") == 2 and "run c0" not in paths  # legend and line
    assert "student &lt;x&gt;" in chart.svg and "mark c2" in chart.svg  # a single point has a mark


def test_nothing_to_draw_is_no_chart_and_one_line_needs_no_legend() -> None:
    assert line_chart("x", {"a": [(1.0, float("inf"))]}, x_title="x", y_title="y") is None
    chart = line_chart("x", {"only": [(1.0, 1.0), (2.0, 2.0)]}, x_title="x", y_title="y")
    assert chart is not None and "only" not in chart.svg


def test_answers_that_are_as_right_as_certain_lie_on_the_diagonal() -> None:
    chart = reliability_chart("x", {"a": Reliability([0.2, 0.8], [0.2, 0.8], [1, 100]), "b": Reliability([], [], [])})
    svg = ElementTree.fromstring(chart.svg)
    line = next(node for node in svg.iter("line") if node.get("class") == "diagonal")
    x1, y1, x2, y2 = (float(line.get(key, "")) for key in ("x1", "y1", "x2", "y2"))
    marks = [node for node in svg.iter("circle") if len(node)]
    for mark in marks:
        x, y = float(mark.get("cx", "")), float(mark.get("cy", ""))
        assert abs((y - y1) * (x2 - x1) - (x - x1) * (y2 - y1)) < 50  # about a tenth of a pixel
    assert [float(mark.get("r", "")) for mark in marks] == [3.5, 8]
    assert "a: 100 answers with a mean score of 0.80, 80% right" in chart.svg
