from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from reskd.experiment.config import ExperimentConfig
from reskd.experiment.stages import load_stages
from reskd.reports.experiment.collect import EvaluatedFile, experiment_of_runs, experiment_of_stages, roles_of
from reskd.reports.experiment.findings import find
from reskd.reports.experiment.page import write_stage_report
from tests.reskd.reports.experiment.models import predictions, write_model

STAGES = [
    {"name": "teacher", "data": {"views": {"teacher": None, "student": {"size": 64, "source": "decoded"}}}},
    {"name": "baseline"},
    {"name": "other", "data": {"views": {"student": {"size": 16}}}},
    {
        "name": "student",
        "teacher": {"stage": "stage:teacher", "batch_norm": "running_stats"},
        "loss": {"pixel": {"alpha": 10}},
    },
    {"name": "finetuned", "student": {"weights": "stage:student"}},
]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    tree = {
        "name": "x",
        "runs": str(tmp_path / "runs"),
        "data": {
            "root": str(tmp_path),
            "train": "folders",
            "test_fraction": 0.2,
            "views": {"teacher": {"size": 64}, "student": {"size": 32}},
        },
        "student": {"backbone": "resnet18"},
        "optimizer": {"lr": 0.01},
        "training": {"epochs": 1, "global_batch_size": 4},
        "stages": STAGES,
    }
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def stages(config: Path) -> list[ExperimentConfig]:
    return load_stages(config)


def test_the_student_its_teacher_and_the_baseline_are_found(config: Path) -> None:
    assert roles_of(stages(config)) == {
        "x.teacher": "teacher",
        "x.baseline": "baseline",
        "x.other": "other",
        "x.student": "student",
        "x.finetuned": "other",
    }
    assert set(roles_of(stages(config)[:3]).values()) == {"other"}


def test_stages_that_are_evaluated_are_compared_and_commands_for_the_others_given(config: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    own = write_model(runs, "x.student", predictions(3.0, 0))
    write_model(runs, "x.teacher", predictions(4.0, 1))
    (runs / "x.baseline").mkdir()
    (runs / "x.baseline" / "last.pt").touch()
    found = experiment_of_stages(stages(config), EvaluatedFile(own, "x.student"), title="x", source="a b.yaml")
    assert [(model.name, model.role) for model in found.models] == [("x.teacher", "teacher"), ("x.student", "student")]
    assert found.todo["x.baseline is not evaluated yet"] == (
        f"reskd evaluate 'a b.yaml' {runs}/x.baseline/last.pt --stage baseline"
    )
    assert found.todo["x.other is not trained yet"] == found.training == "reskd train 'a b.yaml'"
    assert found.subject.name == "x.student" and found.subject.scored is not None and found.subject.curves


def test_results_of_other_lists_or_views_are_not_compared(config: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    own = write_model(runs, "x.student", predictions(3.0, 0))
    write_model(runs, "x.teacher", predictions(4.0, 1), views={"clips": 10, "crops": 3, "average": "probabilities"})
    write_model(runs, "x.baseline", predictions(1.0, 1), manifest_hash="another")
    write_model(runs, "x.other", predictions(1.0, 1)).write_text("{")
    found = experiment_of_stages(stages(config), EvaluatedFile(own, "x.student"), title="x", source="x.yaml")
    assert [model.name for model in found.models] == ["x.student"]
    baseline, other = found.left_out
    assert "x.baseline is not compared: expected results on the same list" in baseline
    assert "x.other is not compared: " in other and "expected the result of an evaluation" in other


def test_a_damaged_file_of_scores_leaves_totals(config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = write_model(tmp_path / "runs", "x.student", predictions(3.0, 0))
    own.with_suffix(".scores.npz").write_bytes(b"x")
    found = experiment_of_stages(stages(config), EvaluatedFile(own, "x.student"), title="x", source="")
    assert found.subject.scored is None and "the report compares totals alone" in caplog.text


def test_a_teacher_that_was_evaluated_in_the_students_run_counts_where_it_has_no_run(
    config: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    teacher = write_model(runs, "x.student", predictions(4.0, 1), which="teacher")
    own = write_model(runs, "x.student", predictions(3.0, 0))

    def names(evaluated: Path) -> list[str]:
        file = EvaluatedFile(evaluated, "x.student")
        return [model.name for model in experiment_of_stages(stages(config), file, title="x", source="").models]

    assert names(own) == names(teacher) == ["x.student", "x.student, its teacher"]


def test_runs_are_compared_by_their_folders_and_other_views_refused(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b")):
        write_model(tmp_path, name, predictions(1.0, number))
    found = experiment_of_runs([tmp_path / "a", tmp_path / "b"], title="t", views=None)
    assert [model.role for model in found.models] == ["other", "other"] and found.subject.name == "b"
    write_model(tmp_path, "b", predictions(1.0, 2), views={"clips": 10, "crops": 3, "average": "probabilities"})
    with pytest.raises(
        ValueError, match="a with 1 clips x 1 crops and b with 10 clips x 3 crops, probabilities averaged"
    ):
        experiment_of_runs([tmp_path / "a", tmp_path / "b"], title="t", views=None)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "x/report.html"),
        ({"split": "val", "checkpoint": "best.pt"}, "x/report_val_best.html"),
        ({"which": "teacher"}, "x/report.html"),
    ],
)
def test_the_report_of_stages_has_a_place_and_a_name_of_its_own(
    changes: dict[str, str], name: str, config: Path, tmp_path: Path
) -> None:
    own = write_model(tmp_path / "runs", "x.student", predictions(3.0, 0), **changes)
    path = write_stage_report(stages(config), EvaluatedFile(own, "x.student"), source="x.yaml")
    assert path == tmp_path / "runs" / name and path.is_file()


def test_a_result_in_another_folder_has_its_report_there(config: Path, tmp_path: Path) -> None:
    own = write_model(tmp_path / "elsewhere", "y", predictions(3.0, 0))
    path = write_stage_report(stages(config), EvaluatedFile(own, "x.student"), source="x.yaml")
    assert path == own.with_name("report.html")


def test_two_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    folders = [tmp_path / "a" / "student", tmp_path / "b" / "student"]
    for folder, strength in zip(folders, (-3.0, 3.0), strict=True):
        write_model(folder.parent, "student", predictions(strength, 1))
    shown = experiment_of_runs(folders, title="t", views=None)
    assert [model.name for model in shown.models] == [str(folder) for folder in folders]
    (pair,) = find(shown).pairs
    assert pair.comparison is not None and pair.comparison.of("top1").verdict == "better"


def test_the_command_for_a_teacher_of_another_file_names_that_file(config: Path, tmp_path: Path) -> None:
    whole = yaml.safe_load(config.read_text())
    teacher = {**whole, "name": "teacher", **STAGES[0], "data": {**whole["data"], **STAGES[0]["data"]}}
    student = {**whole, **STAGES[3], "teacher": {**STAGES[3]["teacher"], "stage": str(tmp_path / "teacher.yaml")}}
    del teacher["stages"], student["stages"]
    (tmp_path / "teacher.yaml").write_text(yaml.safe_dump(teacher))
    (tmp_path / "student.yaml").write_text(yaml.safe_dump(student))
    runs = tmp_path / "runs"
    (runs / "teacher").mkdir(parents=True)
    (runs / "teacher" / "last.pt").touch()
    own = write_model(runs, "student", predictions(3.0, 0))
    stages = load_stages(tmp_path / "student.yaml")
    found = experiment_of_stages(stages, EvaluatedFile(own, "student"), title="x", source="student.yaml")
    expected = f"reskd evaluate {tmp_path}/teacher.yaml {runs}/teacher/last.pt"
    assert found.todo == {"teacher is not evaluated yet": expected}


@pytest.mark.parametrize(("sampled", "kept"), [(8, None), (16, 8)])
def test_the_baseline_sees_as_many_frames_as_the_student(sampled: int, kept: int | None, config: Path) -> None:
    whole = yaml.safe_load(config.read_text())

    def stage(name: str, frames: int, **more: Any) -> dict[str, Any]:
        data = {"sampling": {"num_frames": frames}, "views": {"student": {"size": 32}}}
        return {"name": name, "data": data, **more}

    student = {**STAGES[3], "data": {"sampling": {"num_frames": sampled}, "views": {"student": {"num_frames": kept}}}}
    whole["stages"] = [stage("plain_16", 16), stage("plain_8", 8), {**STAGES[0]}, student]
    config.write_text(yaml.safe_dump(whole))
    found = roles_of(stages(config))
    assert (found["x.plain_8"], found["x.plain_16"]) == ("baseline", "other")
