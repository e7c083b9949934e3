from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

from reskd.pages.matrix_chart import matrix_chart


def test_a_cell_is_as_full_as_its_share_of_the_row_and_says_so() -> None:
    counts = np.array([[3, 1], [0, 0]])
    chart = matrix_chart("x", ["a <b>", "b"], counts, np.array([5, 0]))
    cells = [node for node in ElementTree.fromstring(chart.svg).iter("rect") if node.get("class") == "cell"]
    assert [cell.get("fill-opacity") for cell in cells] == ["0.60", "0.20"]
    assert cells[1][0].text == "a <b> answered as b: 1 of 5"
    assert not chart.is_wide


def test_forty_classes_have_a_wide_picture_without_numbers() -> None:
    counts = np.full((40, 40), 7)
    chart = matrix_chart("x", [f"class {number} " + "long" * 50 for number in range(40)], counts, counts.sum(1))
    assert chart.is_wide and len(chart.svg) < 600_000 and ">7<" not in chart.svg
