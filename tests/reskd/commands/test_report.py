from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reskd.cli import run_tool
from reskd.commands import report
from reskd.experiment.protocol import write_evaluation
from reskd.reports.run_report import read_result


def evaluated(folder: Path, clips: int, crops: int, average: str = "probabilities", **changes: Any) -> Path:
    views = {"clips": clips, "crops": crops, "average": average}
    numbers = {
        "metrics": {"top1": 0.5, "map": 0.5},
        "coverage": {"scored": 1, "listed": 1},
        "gmacs_per_video": 1.0,
        "videos_per_second": 1.0,
    }
    about: dict[str, Any] = {
        "name": "x",
        "protocol": "some views",
        "split": "test",
        "which": "student",
        "checkpoint": "last.pt",
    }
    about |= {"metrics": {"top1": 0.5, "map": 0.5}}
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


def test_runs_that_cannot_be_read_are_named_and_the_others_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two", "empty", "damaged", "bare"):
        (tmp_path / name).mkdir()
    evaluated(tmp_path / "bare", 1, 1, metrics={})
    evaluated(tmp_path / "one", 1, 1)
    evaluated(tmp_path / "two", 1, 1)
    evaluated(tmp_path / "damaged", 1, 1).write_text("{")
    runs = [str(tmp_path / name) for name in ("one", "empty", "damaged", "bare", "nowhere", "two")]
    assert run_tool(report.main, [str(tmp_path / "out"), *runs]) == 0
    out, err = capsys.readouterr()
    assert out.count("some views") >= 1 and (tmp_path / "out/report.md").is_file()
    left_out = [line.partition("left out: ")[2] for line in err.splitlines() if "left out: " in line]
    expected = ["empty/", "damaged/", "bare/", "nowhere/"]
    assert [name for name in expected if any(name in line for line in left_out)] == expected
    assert run_tool(report.main, [str(tmp_path / "out"), runs[1], runs[2]]) == 1
    assert capsys.readouterr().err.count("error: ") == 2
