"""A run belongs to the weights that it was made from; where these have changed it is refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from reskd.experiment import build
from reskd.experiment.config import ExperimentConfig
from reskd.experiment.networks import build_evaluated_model
from reskd.experiment.provenance import is_trained
from reskd.experiment.renamed_keys import RENAMED_KEYS
from reskd.experiment.run import train_experiment
from reskd.experiment.stages import load_stages, train_stages
from reskd.training.checkpoint import load_checkpoint, save_checkpoint
from tests.conftest import numbered_clip
from tests.reskd.experiment.test_stages import FINE_TUNED, STUDENT, TEACHER, WORLD, write_stages
from tests.reskd.feature_files import write_features

JOINT = {
    **STUDENT,
    "name": "joint",
    "teacher": {"stage": "stage:teacher", "update": "joint", "batch_norm": "batch_stats"},
}
SHORT = {"training": {"epochs": 1, "global_batch_size": 6}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Teacher, student, fine-tuned student, and one with a teacher that goes on learning; an epoch each."""
    folder = write_features(tmp_path_factory.mktemp("course"))
    for config in load_stages(write_stages(folder, TEACHER, STUDENT, FINE_TUNED, JOINT, **SHORT)):
        train_experiment(config, world=WORLD, report=False)
    return folder


@pytest.fixture
def course(trained: Path, tmp_path: Path) -> list[ExperimentConfig]:
    """A copy of these runs, which a test may change."""
    shutil.copytree(trained / "runs", tmp_path / "runs")
    return load_stages(trained / "tiny.yaml", [f"runs={tmp_path / 'runs'}"])


def change(config: ExperimentConfig, /, **changes: Any) -> None:
    """As if the run had been trained again, to other weights or to another step."""
    state = load_checkpoint(config.folder / "last.pt")
    state["student"]["head.bias"] += changes.pop("shift", 0.0)
    save_checkpoint(config.folder / "last.pt", {**state, **changes})


def test_runs_made_from_the_weights_that_are_there_are_done(course: list[ExperimentConfig]) -> None:
    before = [(config.folder / "last.pt").stat().st_mtime_ns for config in course]
    train_stages(course, world=WORLD)
    assert [(config.folder / "last.pt").stat().st_mtime_ns for config in course] == before


@pytest.mark.parametrize(
    ("number", "changes", "message"),
    [
        (0, {"shift": 0.1}, r"tiny.student/last.pt was made from .*tiny.teacher \(teacher.stage\), which holds other"),
        (0, {"num_steps": 1}, r"tiny.student/last.pt .*\(teacher.stage\), which is missing or not finished"),
        (1, {"shift": 0.1}, r"tiny.finetuned/last.pt was made from .*tiny.student \(student.weights\), which holds"),
    ],
)
def test_a_stage_that_is_done_is_refused_where_what_it_was_made_from_was_trained_anew(
    number: int, changes: dict[str, Any], message: str, course: list[ExperimentConfig]
) -> None:
    change(course[number], **changes)
    with pytest.raises(ValueError, match=message + ".*Delete .* to train tiny.* again, pass --overwrite"):
        train_stages(course, world=WORLD)


def test_a_teacher_of_other_settings_is_not_trained_to_find_its_student_stale(
    course: list[ExperimentConfig], trained: Path
) -> None:
    shutil.rmtree(course[0].folder)
    overrides = [f"runs={course[0].runs}", "stages.teacher.optimizer.lr=0.1"]
    with pytest.raises(ValueError, match="tiny.student/last.pt .* is missing or not finished"):
        train_stages(load_stages(trained / "tiny.yaml", overrides), world=WORLD)
    assert not course[0].folder.exists()


@pytest.mark.parametrize("number", [1, 2])
def test_an_unfinished_run_by_itself_is_refused_too(number: int, course: list[ExperimentConfig]) -> None:
    change(course[number], num_steps=1)
    change(course[number - 1], shift=0.1)
    with pytest.raises(ValueError, match="which holds other weights now"):
        train_experiment(course[number], world=WORLD, report=False)


def test_a_joint_teacher_belongs_to_the_stage_that_it_started_from(course: list[ExperimentConfig]) -> None:
    change(course[0], shift=0.1)
    with pytest.raises(ValueError, match=r"tiny.joint/last.pt .*\(teacher.stage\), which holds other weights now"):
        train_stages([course[0], course[3]], world=WORLD)


def test_a_stage_by_itself_names_the_one_whose_weights_are_missing_or_not_finished(
    course: list[ExperimentConfig],
) -> None:
    _, student, tuned, _ = course
    (tuned.folder / "last.pt").unlink()
    change(student, num_steps=1)
    message = r"tiny.finetuned: expected stage:student, .* found it at step 1 of \d+; resume it first: reskd train"
    with pytest.raises(ValueError, match=message):
        train_experiment(tuned, world=WORLD, report=False)
    shutil.rmtree(student.folder)
    with pytest.raises(
        FileNotFoundError, match="tiny.finetuned: expected stage:student, .*on the file with the stages"
    ):
        train_experiment(tuned, world=WORLD, report=False)


def test_a_run_of_an_earlier_version_is_refused_by_the_names_that_changed(
    course: list[ExperimentConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RENAMED_KEYS, "optimizer.speed", "optimizer.lr")
    teacher = course[0]
    settings = teacher.resolved()
    settings["optimizer"]["speed"] = settings["optimizer"].pop("lr")
    said = r"was written by an earlier version: optimizer.speed was renamed to optimizer.lr\. Use the version"
    (teacher.folder / "config.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ValueError, match=f"tiny.teacher {said}"):
        train_experiment(teacher, world=WORLD, report=False)
    change(teacher, config=settings)
    with pytest.raises(ValueError, match=f"tiny.teacher/last.pt {said}"):
        train_stages(course, world=WORLD)
    with pytest.raises(ValueError, match=f"tiny.teacher {said}"):
        is_trained(teacher)
    state = load_checkpoint(teacher.folder / "last.pt")
    with pytest.raises(ValueError, match=f"^last.pt {said}"):
        build_evaluated_model(teacher, state, which="student", source="last.pt", device=WORLD.device)


def test_a_stage_teaches_with_its_best_weights_and_its_student_belongs_to_them(tmp_path: Path) -> None:
    student = {**STUDENT, "teacher": {**STUDENT["teacher"], "checkpoint": "best"}}
    teacher = {**TEACHER, "training": {"epochs": 4}}
    stages = load_stages(write_stages(write_features(tmp_path), teacher, student, **SHORT))
    train_stages(stages, world=WORLD)
    best = stages[0].folder / "best.pt"
    state = load_checkpoint(best)
    taught = build_evaluated_model(
        stages[1],
        load_checkpoint(stages[1].folder / "last.pt"),
        which="teacher",
        source="last.pt",
        device=WORLD.device,
    )
    assert all(torch.equal(value, state["student"][name]) for name, value in taught.state_dict().items())
    train_stages(stages, world=WORLD)  # done
    state["student"]["head.bias"] += 0.1
    save_checkpoint(best, state)
    with pytest.raises(ValueError, match=r"tiny.student/last.pt was made from .*tiny.teacher \(teacher.stage\)"):
        train_stages(stages, world=WORLD)


def test_a_stage_without_a_validation_list_has_no_best_weights_to_teach_with(tmp_path: Path) -> None:
    student = {**STUDENT, "teacher": {**STUDENT["teacher"], "checkpoint": "best"}}
    teacher = {**TEACHER, "data": {**TEACHER["data"], "val": None, "val_fraction": 0}}
    stages = load_stages(write_stages(write_features(tmp_path), teacher, student, **SHORT))
    with pytest.raises(ValueError, match=r"stage student: teacher.checkpoint=best: expected a validation list of "):
        train_stages(stages, world=WORLD)
    assert not stages[0].folder.exists()


def test_a_trial_pass_of_the_teacher_changes_nothing_in_what_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU tries how many clips fit before the first step; the teacher rounds its weights in its first pass."""
    for label in ("left", "right"):
        (tmp_path / "videos" / label).mkdir(parents=True)
        for number in range(2):
            numbered_clip(tmp_path / "videos" / label / f"{number}.mp4", "libx264", 6, tint=20 * number)
    views = {"student": {"size": 32, "source": "decoded"}}
    common = {
        "name": "tiny",
        "runs": str(tmp_path / "runs"),
        "device": "cpu",
        "data": {"root": str(tmp_path / "videos"), "train": "folders", "val_fraction": 0.0, "views": views},
        "student": {"family": "tsn", "backbone": "resnet18"},
        "optimizer": {"lr": 0.01},
        "training": {"epochs": 1, "global_batch_size": 2, "precision": "bf16"},
    }
    common["data"]["sampling"] = {"num_frames": 2}
    student = {
        "name": "student",
        "data": {"views": {"teacher": {"size": 32}, "student": {"size": 32, "source": "teacher_view"}}},
        "teacher": {"stage": "stage:teacher", "batch_norm": "running_stats"},
        "loss": {"pixel": {"alpha": 1}},
    }
    choose = build.choose_clips_per_pass

    def as_on_a_gpu(**how: Any) -> int:
        how["try_pass"](2)
        return choose(**how)

    monkeypatch.setattr(build, "choose_clips_per_pass", as_on_a_gpu)
    stages = load_stages(common | {"stages": [{"name": "teacher"}, student]})
    train_stages(stages, world=WORLD)
    before = (stages[1].folder / "last.pt").stat().st_mtime_ns
    train_stages(stages, world=WORLD)  # not refused, and not trained again
    assert (stages[1].folder / "last.pt").stat().st_mtime_ns == before
