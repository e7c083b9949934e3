"""The chart of windows over time."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from reskd.inference.windows.strip_chart import Strip, clock, draw_strip_charts


def strip(scores_NK: np.ndarray, length_s: float = 4.0, stride_s: float = 1.0) -> Strip:
    starts = [number * stride_s for number in range(len(scores_NK))]
    return Strip("a <b>.mp4", starts, [start + length_s for start in starts], list(scores_NK.astype(np.float16)))


def cells(path: Path) -> list[ElementTree.Element]:
    return [one for one in ElementTree.parse(path).getroot().iter() if one.get("class") == "score"]


def test_a_class_has_a_row_if_it_is_best_somewhere(tmp_path: Path) -> None:
    scores = np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.3, 0.7, 0.0]])
    draw_strip_charts([strip(scores)], ["run", "jump & <fly>", "never"], tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    assert "jump &amp; &lt;fly&gt;" in text and "never" not in text and "a &lt;b&gt;.mp4" in text
    drawn = cells(tmp_path / "a.svg")
    assert [float(one.get("fill-opacity", 0)) for one in drawn] == pytest.approx(
        [0.9, 0.8, 0.3, 0.1, 0.2, 0.7], abs=2e-3
    )
    # Middles at 2, 3 and 4 s of 6: the cells meet at 2.5 and 3.5 s.
    assert [float(one.get("x", 0)) for one in drawn[:3]] == pytest.approx(
        [190, 190 + 800 * 2.5 / 6, 190 + 800 * 3.5 / 6], abs=0.06
    )


def test_hours_of_windows_make_a_small_file(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    scores = generator.dirichlet(np.ones(20), size=3 * 3600)
    draw_strip_charts([strip(scores)], [f"class {k}" for k in range(20)], tmp_path / "a.svg")
    assert len(cells(tmp_path / "a.svg")) <= 8 * 800
    assert (tmp_path / "a.svg").stat().st_size < 2 << 20


@pytest.mark.parametrize(("seconds", "shown"), [(3.25, "3 s"), (59.2, "59 s"), (61, "1:01"), (3723, "1:02:03")])
def test_a_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown
