"""Labels of close marks stand apart and inside the picture, and lines lead to them."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree

from reskd.study.page.labels import Box, labels_beside, labels_near, width_beside

WITHIN = Box(0, 0, 200, 160)


def heights_and_leaders(labels: list[str]) -> tuple[dict[str, float], int]:
    drawn = [ElementTree.fromstring(label) for label in labels]
    texts = {node.text or "": float(node.get("y", "")) - 4 for node in drawn if node.tag == "text"}
    return texts, sum(node.get("class") == "leader" for node in drawn)


def test_a_label_alone_stands_beside_its_mark() -> None:
    heights, num_leaders = heights_and_leaders(labels_near([(50.0, 80.0, "student")], WITHIN))
    assert heights == {"student": 80} and num_leaders == 0


def test_a_column_of_labels_keeps_the_order_of_its_marks_and_stays_inside() -> None:
    places = [(100.0, height, f"arm {height:g}") for height in (150.0, 158.0, 20.0, 154.0)]
    heights, num_leaders = heights_and_leaders(labels_beside(places, WITHIN))
    assert heights["arm 20"] == 20 and heights["arm 158"] == WITHIN.bottom and num_leaders == 4
    assert list(heights) == ["arm 20", "arm 150", "arm 154", "arm 158"]
    assert all(below - above >= 13 for above, below in itertools.pairwise(heights.values()))


def test_the_column_is_as_wide_as_its_longest_label() -> None:
    assert width_beside(["a", "twelve chars"]) == width_beside(["twelve chars"]) > width_beside(["a"])
    assert width_beside(["n" * 99]) == width_beside(["n" * 30])
