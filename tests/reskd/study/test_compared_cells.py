from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reskd.study.compared_cells import compared_cells
from reskd.study.config import ComparisonConfig
from reskd.study.plan import plan_study
from tests.reskd.study.tiny_study import tiny_study

AXES = {
    "seed": [1],
    "frames": {name: {"data.views.student.num_frames": int(name)} for name in ("2", "4")},
    "lr": {name: {"optimizer.lr": float(name)} for name in ("0.1", "0.2")},
}


def test_a_comparison_stands_at_the_values_it_names_and_at_each_of_the_others(tmp_path: Path) -> None:
    plan = plan_study(tiny_study(tmp_path, axes=AXES, recovery=[]))

    def pairs(**changes: Any) -> list[tuple[str, str]]:
        one = ComparisonConfig(arm="student", **{"over": "baseline", **changes})
        return [
            (" ".join((cell[0], *cell[1][1:])), " ".join((other[0], *other[1][1:])))
            for cell, other in compared_cells(plan.study, one, plan.cells)
        ]

    assert pairs() == [(f"student {at}", f"baseline {at}") for at in ("2 0.1", "2 0.2", "4 0.1", "4 0.2")]
    assert pairs(at={"frames": 2}) == [(f"student {at}", f"baseline {at}") for at in ("2 0.1", "2 0.2")]
    assert pairs(at={"frames": 2}, over_at={"frames": 4}) == [
        ("student 2 0.1", "baseline 4 0.1"),
        ("student 2 0.2", "baseline 4 0.2"),
    ]
    assert pairs(over="student", over_at={"frames": 4}) == [
        ("student 2 0.1", "student 4 0.1"),
        ("student 2 0.2", "student 4 0.2"),
    ]
    assert pairs(at={"frames": 2, "lr": 0.1}, over_at={"frames": 4, "lr": 0.2}) == [("student 2 0.1", "baseline 4 0.2")]


@pytest.mark.parametrize(
    ("place", "question"),
    [
        ({}, "student over baseline"),
        ({"at": {"frames": 2}}, "student (frames 2) over baseline (frames 2)"),
        ({"over_at": {"frames": 4}}, "student over baseline (frames 4)"),
        (
            {"at": {"frames": 2, "lr": 0.1}, "over_at": {"frames": 4}},
            "student (frames 2, lr 0.1) over baseline (frames 4, lr 0.1)",
        ),
    ],
)
def test_the_question_names_the_values(place: dict[str, Any], question: str) -> None:
    assert ComparisonConfig(arm="student", over="baseline", **place).question == question


@pytest.mark.parametrize(
    ("comparison", "message"),
    [
        ({"at": {"sizes": 2}}, r"compare\.0\.at: expected an axis of this study \(seed, frames, lr\), found sizes"),
        ({"over_at": {"frames": 3}}, r"compare\.0\.over_at\.frames: expected of 2, 4, the values of .* found 3"),
        ({"at": {"seed": 1}}, r"compare\.0\.at: expected neither repeat nor pool, found seed"),
        (
            {"over": "student", "at": {"frames": 2}},
            r"compare\.0: expected two sides that differ, found student \(frames 2\) over student \(frames 2\)",
        ),
        (
            {"arm": "teacher", "over": "teacher", "at": {"frames": 2}, "over_at": {"frames": 4}},
            r"compare\.0: expected arms with different runs .* found none for teacher \(frames 2\) over teacher",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(comparison: dict[str, Any], message: str, tmp_path: Path) -> None:
    compare = [{"arm": "student", "over": "baseline", **comparison}]
    axes = {**AXES, "frames": {name: {"stages.student.data.views.student.num_frames": int(name)} for name in "24"}}
    with pytest.raises(ValueError, match=message):
        plan_study(tiny_study(tmp_path, axes=axes, compare=compare, recovery=[]))


def test_the_quick_size_asks_what_is_left_to_ask(tmp_path: Path) -> None:
    compare = [
        {"arm": "student", "over": "baseline"},
        {"arm": "student", "over": "baseline", "at": {"frames": 4}},
        {"arm": "student", "over": "student", "over_at": {"frames": 2}},
    ]
    study = tiny_study(tmp_path, axes=AXES, compare=compare, quick={"axes": {"frames": ["2"]}}, recovery=[])
    assert [one.question for one in study.quickened().compare] == ["student over baseline"]
    assert plan_study(study.quickened())
