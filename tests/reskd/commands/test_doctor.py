from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from reskd.cli import run_tool
from reskd.commands import doctor
from reskd.environment import TESTED
from reskd.experiment import run_checks
from reskd.machine_checks import Finding
from tests.reskd.experiment.test_stages import STUDENT, TEACHER, write_stages
from tests.reskd.feature_files import write_features

ROOT = Path(__file__).parents[3]
TOOL = ROOT / "tools/doctor.py"


def test_lines_of_a_stage_carry_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finding = Finding("OK", "memory", "enough.")
    monkeypatch.setattr(doctor, "check_machine", lambda runs: [Finding("OK", "disk", "room.")])
    monkeypatch.setattr(run_checks, "check_config", lambda config, stage: [finding])
    path = str(write_stages(write_features(tmp_path), TEACHER, STUDENT))
    assert doctor.main([path]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "OK      disk: room.",
        "OK      teacher: memory: enough.",
        "OK      student: memory: enough.",
        "0 problems.",
    ]


def test_exit_status_is_1_only_with_a_problem(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for level, status in (("OK", 0), ("NOTE", 0), ("PROBLEM", 1)):
        monkeypatch.setattr(doctor, "check_machine", lambda runs, level=level: [Finding(level, "x", "y.")])
        assert doctor.main([]) == status
    assert "PROBLEM x: y." in capsys.readouterr().out


def test_a_missing_package_is_told_before_anything_else_is_tried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    versions = dict.fromkeys(TESTED, "2.6.0") | {"torch": None}
    monkeypatch.setattr(doctor, "installed_versions", lambda: versions)
    monkeypatch.setattr(doctor, "check_machine", lambda runs: pytest.fail("looked further"))
    assert doctor.main([]) == 1
    assert "PROBLEM torch: not installed" in capsys.readouterr().out


def test_a_config_that_is_not_there_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_tool(doctor.main, ["configs/no_such.yaml"]) == 1
    assert capsys.readouterr().err.startswith("error: expected a config file at configs/no_such.yaml")


def test_the_tool_runs_on_this_machine() -> None:
    command = [sys.executable, str(TOOL), "--json"]
    done = subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, capture_output=True
    )
    topics = [finding["topic"] for finding in json.loads(done.stdout)]
    assert {"driver", "NVDEC", "decoder", "shared memory", "disk", "CPU cores", "torch", "fused loss", "apex"} <= set(
        topics
    )
