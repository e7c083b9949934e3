from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reskd.study.plan import plan_study
from tests.reskd.study.tiny_study import tiny_study


def test_seeds_that_hold_out_other_videos_are_refused_with_the_setting_to_add(tmp_path: Path) -> None:
    message = (
        r"data\.val_fraction holds out other videos in teacher at seed 4 \(split by seed 4\) and teacher at seed 7 "
        r"\(by seed 7\); add data\.split_seed: 4 to settings in the study's file"
    )
    with pytest.raises(ValueError, match=message):
        plan_study(tiny_study(tmp_path, score="val", axes={"seed": [4, 7]}))


@pytest.mark.parametrize(
    "changes",
    [
        {"score": "val", "settings": {"data.split_seed": 4}},
        {"score": "val", "repeat": None},  # rows of their own, each compared within its seed
        {"score": "test"},  # the test files are the same
    ],
)
def test_runs_on_the_same_videos_are_planned(changes: dict[str, Any], tmp_path: Path) -> None:
    plan = plan_study(tiny_study(tmp_path, **changes))
    assert {run.config.seed for run in plan.runs.values()} == {1, 2}


def test_arms_that_are_compared_need_one_split(tmp_path: Path) -> None:
    settings = {"stages.student.data.split_seed": 9, "stages.baseline.data.split_seed": 8}
    with pytest.raises(ValueError, match="baseline at seed 1 .split by seed 8. and student at seed 1 .by seed 9"):
        plan_study(tiny_study(tmp_path, score="val", axes={"seed": [1]}, settings=settings, recovery=[]))
    plan = plan_study(tiny_study(tmp_path, score="val", axes={"seed": [1]}, settings=settings, recovery=[], compare=[]))
    assert len(plan.runs) == 3
