"""A file of stages as a user gives it to the tools."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reskd.cli import run_tool
from tests.reskd.feature_files import write_features
from tests.reskd.test_stages import STUDENT, TEACHER, write_stages
from tools import evaluate, train


def test_stages_are_trained_and_one_is_evaluated_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write_stages(write_features(tmp_path), TEACHER, STUDENT))
    assert run_tool(train.main, [path, "training.epochs=1", "stages.student.training.epochs=2"]) == 0
    told = capsys.readouterr().out
    for name in ("teacher", "student"):
        assert f"done: {tmp_path / 'runs' / f'tiny.{name}' / 'report.md'}" in told
    last = tmp_path / "runs" / "tiny.student" / "last.pt"
    overrides = ["training.epochs=1"]
    assert run_tool(evaluate.main, [path, str(last), *overrides, "--stage", "student"]) == 0
    result = json.loads((last.parent / "evaluation_test_student_last.json").read_text())
    assert result["name"] == "tiny.student" and result["metrics"]
    assert run_tool(evaluate.main, [path, str(last)]) == 1
    assert "expected one of the file's stages (teacher, student), found none" in capsys.readouterr().err
