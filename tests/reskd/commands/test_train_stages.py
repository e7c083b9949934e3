"""A file of stages as a user gives it to the tools: teacher, student, fine-tuning."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from reskd.cli import run_tool
from reskd.commands import evaluate, train
from reskd.training.checkpoint import load_checkpoint
from tests.reskd.experiment.test_stages import FINE_TUNED, STUDENT, TEACHER, write_stages
from tests.reskd.feature_files import write_features
from tests.reskd.pages.parsed_page import check_page


def test_a_course_is_run_in_order_and_none_of_it_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, runs = str(write_stages(write_features(tmp_path), TEACHER, STUDENT, FINE_TUNED)), tmp_path / "runs"

    def trained() -> list[str]:
        """The stages that had steps, in order."""
        assert run_tool(train.main, [path, "stages.student.training.epochs=1"]) == 0
        told = capsys.readouterr().out
        assert f"done: {runs / 'tiny.finetuned' / 'report.md'}" in told
        return list(dict.fromkeys(re.findall(r"^tiny[.](\w+) step", told, re.MULTILINE)))

    assert trained() == ["teacher", "student", "finetuned"]
    before, after = (load_checkpoint(runs / f"tiny.{name}" / "last.pt")["student"] for name in ("student", "finetuned"))
    assert all((after[name] - before[name]).abs().max() <= 0.01 for name in before)  # a few small steps from there
    assert any(not torch.equal(after[name], before[name]) for name in before)
    assert "| embedding |" in (runs / "tiny.student" / "report.md").read_text()
    (runs / "tiny.finetuned" / "last.pt").unlink()
    assert trained() == ["finetuned"]

    last = runs / "tiny.student" / "last.pt"
    assert run_tool(evaluate.main, [path, str(last), "--stage", "student"]) == 0
    out = tmp_path / "not" / "there"
    assert run_tool(evaluate.main, [path, str(last), "--stage", "student", "--out", str(out)]) == 0
    assert [file.name for file in out.glob("*.json")] == ["evaluation_test_student_last.json"]
    assert len(list(out.iterdir())) == 7  # with answers, classes, two pictures, all scores and a report
    page = check_page((runs / "tiny" / "report.html").read_text())
    assert any("the student" in text and "Not known yet: " in text for text in page.texts)
    assert "tiny.finetuned is not evaluated yet." in page.texts and "tiny.teacher is not evaluated yet." in page.texts
    # A run's own config.yaml is enough, without the file of the stages.
    assert run_tool(evaluate.main, [str(last.parent / "config.yaml"), str(last), "--which", "teacher"]) == 0
    for which in ("student", "teacher"):
        result = json.loads((last.parent / f"evaluation_test_{which}_last.json").read_text())
        assert result["name"] == "tiny.student" and result["coverage"]["scored"] == 24
    assert run_tool(evaluate.main, [path, str(last)]) == 1
    assert "expected one of the file's stages (teacher, student, finetuned), found none" in capsys.readouterr().err
