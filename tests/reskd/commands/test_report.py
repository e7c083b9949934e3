from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reskd.experiment.protocol import write_evaluation
from reskd.reports.run_report import read_result


def evaluated(folder: Path, clips: int, crops: int, average: str = "probabilities", **changes: Any) -> Path:
    views = {"clips": clips, "crops": crops, "average": average}
    numbers = {"metrics": {}, "coverage": {"scored": 1, "listed": 1}, "gmacs_per_video": 1.0, "videos_per_second": 1.0}
    about = {"name": "x", "protocol": "some views", "split": "test", "which": "student", "checkpoint": "last.pt"}
    result = {**about, **numbers, "views": views, **changes}
    return write_evaluation(result, folder)


def test_each_protocol_has_a_file_of_its_own_and_the_plain_one_keeps_its_name(tmp_path: Path) -> None:
    names = [
        evaluated(tmp_path, *views).name
        for views in ((1, 1), (1, 1, "logits"), (10, 1), (1, 3), (10, 3), (10, 3, "logits"))
    ]
    stem = "evaluation_test_student_last"
    assert names[:2] == [f"{stem}.json"] * 2  # the mean of one view is that view
    assert names[2:] == [f"{stem}_{views}.json" for views in ("10x1", "1x3", "10x3", "10x3_logits")]
    assert (
        evaluated(tmp_path, 4, 3, which="teacher", checkpoint="best.pt").name == "evaluation_test_teacher_best_4x3.json"
    )
    assert json.loads((tmp_path / f"{stem}_10x3.json").read_text())["views"]["average"] == "probabilities"


def test_a_report_takes_the_plain_protocol_unless_told(tmp_path: Path) -> None:
    for views in ((10, 3), (1, 1), (10, 3, "logits")):
        evaluated(tmp_path, *views)
    assert read_result(tmp_path, None)["views"]["clips"] == 1
    assert read_result(tmp_path, "10x3_logits")["views"]["average"] == "logits"


def test_a_report_takes_the_only_protocol_there_is_and_asks_where_there_are_several(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="last.json, found none; .* run reskd evaluate"):
        read_result(tmp_path, None)
    evaluated(tmp_path, 10, 3)
    evaluated(tmp_path, 1, 1, checkpoint="best.pt")
    evaluated(tmp_path, 1, 1, which="teacher")
    assert read_result(tmp_path, None)["views"]["clips"] == 10
    evaluated(tmp_path, 4, 3)
    with pytest.raises(FileNotFoundError, match="found .*_10x3.json, .*_4x3.json; choose one by --views"):
        read_result(tmp_path, None)
    with pytest.raises(FileNotFoundError, match="last_5x1.json, found "):
        read_result(tmp_path, "5x1")
