"""reskd profile train and profile step as a user calls them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from reskd.cli import run_tool
from reskd.commands.profile import step as profile_step
from reskd.commands.profile import train as bench_train
from tests.reskd.experiment.test_stages import STUDENT, TEACHER, write_stages
from tests.reskd.feature_files import write_features


@pytest.fixture
def config(tmp_path: Path) -> str:
    return str(write_stages(write_features(tmp_path), TEACHER, STUDENT))


def test_the_loops_are_measured_and_appended(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rates = tmp_path / "rates.csv"
    command = [config, "--stage", "student", "--steps", "1", "--rounds", "2", "--used-up", "1", "--csv", str(rates)]
    assert run_tool(bench_train.main, command) == 0
    told = capsys.readouterr().out
    assert "overhead of the training loop over the bare networks: " in told and "lost to data: " in told
    assert run_tool(bench_train.main, [*command, "--synthetic", "--precisions", "fp32", "bf16"]) == 0
    rows = list(csv.DictReader(rates.open()))
    assert [row["loop"] for row in rows] == ["bare", "synthetic", "real"] + ["bare", "synthetic"] * 2
    assert [row["precision"] for row in rows] == ["fp32"] * 5 + ["bf16"] * 2


def test_steps_are_profiled(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [config, "--stage", "student", "--steps", "1", "--out", str(tmp_path / "new" / "profile")]
    assert run_tool(profile_step.main, command) == 0
    assert "written to" in capsys.readouterr().out
    assert (tmp_path / "new" / "profile" / "trace.json").is_file()


@pytest.mark.parametrize("tool", [bench_train, profile_step])
def test_data_that_are_missing_are_a_sentence(tool: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out")] if tool is profile_step else []
    command = ["configs/demo/teacher.yaml", f"data.root={tmp_path / 'nowhere'}", *out]
    assert run_tool(tool.main, command) == 1  # type: ignore[attr-defined]
    assert capsys.readouterr().err.startswith("error: ")
