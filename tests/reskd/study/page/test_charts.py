from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import pytest

from reskd.study.page.charts import Chart, draw_charts
from reskd.study.page.data import ReportArm
from tests.reskd.study.example import ODD, study, summary

SVG_ONLY = re.compile(r"^(svg|text|line|rect|circle|polygon|path|title)$")


def by_title() -> dict[str, Chart]:
    return {chart.key or chart.title: chart for chart in draw_charts(study())}


def texts(chart: Chart) -> list[str]:
    return [node.text or "" for node in ElementTree.fromstring(chart.svg).iter("text")]


def tips(chart: Chart) -> list[str]:
    return [node.text or "" for node in ElementTree.fromstring(chart.svg).iter("title")]


def test_every_chart_is_well_formed_and_has_a_title_for_screen_readers() -> None:
    charts = draw_charts(study())
    assert len(charts) == 4 + 4 + 2
    for chart in charts:
        root = ElementTree.fromstring(chart.svg)
        assert root.get("role") == "img" and root.get("aria-label")
        assert all(SVG_ONLY.match(node.tag) for node in root.iter())


@pytest.mark.parametrize(
    ("title", "cost"),
    [("top-1 against computation", "4.40 GFLOPs a video"), ("top-1 against the network's time", "8.04 ms a video")],
)
def test_arms_stand_with_their_names_at_their_accuracy_and_cost(title: str, cost: str) -> None:
    chart = by_title()[title]
    assert {"student", "baseline", "teacher", ODD} <= set(texts(chart))
    assert "not run" not in texts(chart)
    assert f"student: top-1 80.0 +- 1.2 per cent, {cost}" in tips(chart)


def test_arms_without_a_time_from_file_are_not_in_its_chart() -> None:
    chart = by_title()["top-1 against the time from file"]
    assert {"student", "baseline"} <= set(texts(chart)) and "teacher" not in texts(chart)
    assert "student: top-1 80.0 +- 1.2 per cent, 31.5 ms from file to scores" in tips(chart)


@pytest.mark.parametrize(
    ("costs_and_accuracies", "expected"),
    [
        ([(1, 0.5), (2, 0.6), (3, 0.55), (4, 0.7)], [0, 1, 3]),
        ([(1, 0.5), (1, 0.6), (2, 0.6)], [1]),  # as cheap and better; dearer and only as good
        ([(3, 0.9), (2, 0.1), (1, 0.2)], [2, 0]),
    ],
)
def test_the_frontier_joins_the_arms_that_none_beats_in_both(
    costs_and_accuracies: list[tuple[float, float]], expected: list[int]
) -> None:
    filler = ReportArm("not run", None, 0, 1)  # so that all marks are circles, whose places are plain
    arms = tuple(
        one
        for number, (cost, top1) in enumerate(costs_and_accuracies)
        for one in (ReportArm(f"arm {number}", summary(top1), 1, 1, gflops_per_video=cost), *[filler] * 3)
    )
    tree = ElementTree.fromstring(draw_charts(study(arms=arms, comparisons=()))[0].svg)
    (line,) = (node for node in tree.iter("path") if node.get("class") == "frontier")
    places = [f"{node.get('cx')} {node.get('cy')}" for node in tree.iter("circle")]
    assert line.get("d", "").removeprefix("M").split(" L") == [places[number] for number in expected]


def test_a_line_over_sizes_has_a_band_of_intervals() -> None:
    chart = by_title()["top-1 over short side, pixels"]
    bands = [node for node in ElementTree.fromstring(chart.svg).iter("path") if "band" in (node.get("class") or "")]
    assert [band.get("class") for band in bands] == ["band c0", "band c1", "band c2"]
    corners = bands[0].get("d", "").removeprefix("M").split(" L")
    marks = [node for node in ElementTree.fromstring(chart.svg).iter("line") if "bar c0" in (node.get("class") or "")]
    whiskers = {(node.get("x1"), node.get("y1")) for node in marks} | {(n.get("x2"), n.get("y2")) for n in marks}
    assert len(corners) == 4 and {tuple(corner.split()) for corner in corners} == whiskers


def test_labels_do_not_cover_each_other() -> None:
    arms = tuple(ReportArm(f"arm {number}", summary(0.8), 1, 1, 4.4) for number in range(4))
    chart = draw_charts(study(arms=arms, comparisons=()))[0]
    labels = [node for node in ElementTree.fromstring(chart.svg).iter("text") if node.get("class") == "label"]
    places = [(node.get("text-anchor"), node.get("x"), node.get("y")) for node in labels]
    assert len(labels) == len(set(places)) == 4


def test_a_dozen_arms_of_one_cost_have_labels_that_can_be_read_and_lines_to_those_further_off() -> None:
    arms = tuple(ReportArm(f"student of teacher {n}", summary(0.8 + 0.0005 * n), 1, 1, 4.4) for n in range(12))
    drawn = ElementTree.fromstring(draw_charts(study(arms=arms, comparisons=()))[0].svg)
    labels = [node for node in drawn.iter("text") if node.get("class") == "label"]
    of_side: dict[str | None, list[float]] = {}
    for label in labels:
        of_side.setdefault(label.get("text-anchor"), []).append(float(label.get("y", "")))
    for heights in of_side.values():
        ordered = sorted(heights)
        assert all(below - above >= 11 for above, below in itertools.pairwise(ordered))
    assert len(labels) == 12 and any(node.get("class") == "leader" for node in drawn.iter("line"))


def test_many_conditions_of_two_arms_have_a_mark_for_each_arm_and_values_as_labels() -> None:
    arms = tuple(
        ReportArm(arm, summary(0.5 + 0.02 * size), 1, 1, float(size), values=(str(size),))
        for arm in ("baseline", "student")
        for size in range(1, 6)
    )
    chart = draw_charts(study(arms=arms, comparisons=()))[0]
    assert {"baseline", "student"} <= set(tips(chart)) and "student (3)" not in texts(chart)
    tree = ElementTree.fromstring(chart.svg)
    labels = sorted(node.text or "" for node in tree.iter("text") if node.get("class") == "label")
    assert labels == sorted("12345" * 2)
    assert {node.get("class") for node in tree.iter("circle")} == {"mark c0"}  # of the legend too
    assert {node.get("class") for node in tree.iter("rect")} == {"mark c1"}


def test_many_lines_have_no_bands() -> None:
    arms = tuple(
        ReportArm(f"arm {n} ({size})", summary(0.1 * n), 1, 1, axis_values=(size,), line=f"arm {n}")
        for n in range(1, 6)
        for size in (32.0, 64.0)
    )
    drawn = ElementTree.fromstring(draw_charts(study(arms=arms, comparisons=(), axis_title="size"))[0].svg)
    css = [node.get("class") or "" for node in drawn.iter("path")]
    assert sum(one.startswith("line") for one in css) == 5 and not any("band" in one for one in css)


def test_a_forest_shows_each_comparison_with_its_interval_and_seeds() -> None:
    chart = by_title()["Differences in top-1, with intervals"]
    assert texts(chart).count("+3.1 (0.8 to 5.2), better") == 2
    assert "student - baseline" in texts(chart)
    assert {"seed 0: +2.0", "seed 1: +4.2"} <= set(tips(chart))
    assert any("right of 0 is better" in text for text in texts(chart))


def test_the_forest_of_log_loss_says_that_left_is_better() -> None:
    chart = by_title()["Differences in log loss, with intervals"]
    assert any("left of 0 is better" in text for text in texts(chart))


def test_arms_of_one_line_are_joined_and_others_are_not() -> None:
    chart = by_title()["top-1 over short side, pixels"]
    paths = ElementTree.fromstring(chart.svg).iter("path")
    lines = [node.get("d", "") for node in paths if (node.get("class") or "").startswith("line")]
    assert [line.count("L") for line in lines] == [1, 0, 0]
    assert {"students", "baselines", "teacher", "56", "112", "224"} <= set(texts(chart))
    apart = tuple(ReportArm(name, summary(0.5), 1, 1, axis_values=(place,)) for name, place in (("a", 1), ("b", 2)))
    chart = draw_charts(study(arms=apart, comparisons=()))[0]
    paths = ElementTree.fromstring(chart.svg).iter("path")
    assert all("L" not in node.get("d", "") for node in paths if (node.get("class") or "").startswith("line"))


def test_learning_curves_have_a_small_chart_for_each_arm_and_few_points() -> None:
    long = tuple((float(epoch), 0.5) for epoch in range(1001))
    arms = (ReportArm("long", summary(0.5), 1, 1, curves=(long,)), ReportArm("none", summary(0.5), 1, 1))
    (chart,) = (chart for chart in draw_charts(study(arms=arms, comparisons=())) if chart.is_small)
    (path,) = ElementTree.fromstring(chart.svg).iter("path")
    assert chart.title == "long (1 run)"
    assert 150 < path.get("d", "").count("L") < 200
    small = [chart.title for chart in draw_charts(study()) if chart.is_small]
    assert small == ["student (2 runs)", "baseline (2 runs)"]


def test_points_of_a_diverged_run_are_left_out_of_its_curve() -> None:
    curve = ((1.0, 0.5), (2.0, float("nan")), (3.0, 0.6), (4.0, float("inf")))
    arms = (ReportArm("diverged", None, 0, 1, curves=(curve, ((1.0, float("nan")),))),)
    (chart,) = draw_charts(study(arms=arms, comparisons=()))
    (path,) = ElementTree.fromstring(chart.svg).iter("path")
    assert chart.title == "diverged (1 run)"
    assert path.get("d", "").count("L") == 1
    assert "nan" not in chart.svg


def test_nothing_is_drawn_without_numbers() -> None:
    assert draw_charts(study(arms=(ReportArm("not run", None, 0, 1, 1.0, 1.0, (1,)),), comparisons=())) == []
