"""Several runs from one file: how settings are merged, and what is refused before anything is trained."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from reskd.distributed import World
from reskd.experiment.config import load_config
from reskd.experiment.networks import load_stage
from reskd.experiment.stages import check_stages, choose_stage, load_stages, role_of, train_stages
from reskd.yaml_reading import write_yaml
from tests.reskd.feature_files import experiment, network, write_features

WORLD = World(0, 1, torch.device("cpu"))
TEACHER = {"name": "teacher", "data": {"views": {"student": {"num_frames": None}}}}
STUDENT = {
    "name": "student",
    "data": {"views": {"teacher": {}}},
    "teacher": {"stage": "stage:teacher", "batch_norm": "running_stats"},
    "loss": {"embedding": {"alpha": 1}, "prediction": {"alpha": 1}},
}
FINE_TUNED = {
    "name": "finetuned",
    "student": {"weights": "stage:student"},
    "optimizer": {"lr": 0.001},
    "training": {"epochs": 1},
}


def write_stages(folder: Path, *stages: Any, **changes: Any) -> Path:
    tree = experiment(folder, folder / "runs", **changes)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tree | {"stages": list(stages)}))
    return folder / "tiny.yaml"


def test_a_stage_is_the_common_settings_with_its_changes_and_null_removes(tmp_path: Path) -> None:
    path = write_stages(tmp_path, TEACHER, STUDENT, FINE_TUNED)
    teacher, student, tuned = load_stages(path)
    assert [config.name for config in (teacher, student, tuned)] == ["tiny.teacher", "tiny.student", "tiny.finetuned"]
    assert [config.data.views.student.num_frames for config in (teacher, student, tuned)] == [None, 4, 4]
    assert student.loss.distillation_terms == ("embedding", "prediction") and student.loss.task == "sigmoid_bce"
    assert tuned.teacher is None and tuned.loss == teacher.loss  # nothing of the stage before
    assert (student.optimizer.lr, tuned.optimizer.lr, tuned.optimizer.name) == (0.02, 0.001, "adamw")


def test_a_group_of_another_kind_takes_the_place_of_the_common_one(tmp_path: Path) -> None:
    settings = {"kind": "netvlad", "num_clusters": 4, "hidden_dim": 8}
    changed = {**TEACHER, "student": {"aggregator": settings}}
    (config,) = load_stages(write_stages(tmp_path, changed))
    assert config.student.aggregator.model_dump() == settings  # nothing of the common one's


def test_a_file_without_stages_is_one_experiment(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(experiment(tmp_path, tmp_path / "runs")))
    assert load_stages(tmp_path / "one.yaml", ["seed=7"]) == [load_config(tmp_path / "one.yaml", ["seed=7"])]


def test_overrides_are_for_all_stages_or_for_one(tmp_path: Path) -> None:
    path = write_stages(tmp_path, TEACHER, STUDENT, FINE_TUNED)
    configs = load_stages(
        path, ["seed=7", "stages.student.loss.embedding.alpha=5", "stages.finetuned.training.epochs=3"]
    )
    assert [config.seed for config in configs] == [7, 7, 7]
    assert configs[1].loss.weights["embedding"] == 5
    assert [config.training.epochs for config in configs] == [2, 2, 3]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "training.epochs=9",
            r"themselves \(training.epochs in stage finetuned\); use stages.finetuned.training.epochs=",
        ),
        ("teacher.stage.sub=1", r"\(teacher.stage in stage student\); use stages.student.teacher.stage=..."),
        ("loss.embedding=null", r"\(loss.embedding.alpha in stage student\); use stages.student.loss.embedding=..."),
        ("loss={task: softmax_ce}", r"\(loss.embedding.alpha in stage student\)"),
        ("loss=", r"\(loss.embedding.alpha in stage student\)"),
        ("teacher=null", r"\(teacher.batch_norm in stage student\); use stages.student.teacher=..."),
        ("data.views.teacher=null", r"\(data.views.teacher in stage student\)"),
        (
            "student=null",
            r"student.weights in stage finetuned, student.aggregator.block_length in stage short\); use "
            r"stages.finetuned.student=... and stages.short.student=...",
        ),
        (
            "stages.pupil.seed=1",
            "expected stages.NAME.key=value with one of teacher, student, finetuned, short as NAME",
        ),
        ("stages.student=1", "expected stages.NAME.key=value"),
        ("stages.student.los.code.alpha=1", "unknown key los; did you mean loss"),
    ],
)
def test_an_override_that_would_change_nothing_is_refused(override: str, message: str, tmp_path: Path) -> None:
    short = {"name": "short", "student": {"aggregator": {"block_length": 2}}}
    path = write_stages(tmp_path, TEACHER, STUDENT, FINE_TUNED, short)
    with pytest.raises(ValueError, match=message):
        load_stages(path, [override])


def test_an_override_for_all_leaves_out_the_stages_that_do_without_the_setting(tmp_path: Path) -> None:
    path = write_stages(tmp_path, TEACHER, STUDENT, {**FINE_TUNED, "loss": None})
    overrides = ["data.views.student.num_frames=2", "loss.task_weight=0.5"]
    teacher, student, tuned = load_stages(path, overrides)
    assert [config.data.views.student.num_frames for config in (teacher, student, tuned)] == [None, 2, 2]
    assert [config.loss.task_weight for config in (teacher, student, tuned)] == [0.5, 0.5, 1]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([STUDENT, TEACHER], r"stage student: teacher.stage: expected an earlier stage \(none\), found stage:teacher"),
        ([FINE_TUNED], "stage finetuned: student.weights: expected an earlier stage"),
        ([TEACHER, copy.deepcopy(TEACHER)], "none twice, found 'teacher'"),
        ([{"seed": 3}], "expected a name of letters"),
        ([{"name": "a.b"}], "expected a name of letters, digits, _ and - for each"),
        ([{"name": "a", "device": "cpu"}], "stage a: device must be the same for all"),
        ([{"name": "a", "trainin": {}}], "stage a: unknown key trainin; did you mean training"),
        ([], "stages: expected a list of groups of settings, found"),
        (["teacher"], "stages: expected a list of groups of settings"),
    ],
)
def test_stages_that_make_no_sense_are_refused(stages: list[Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        load_stages(write_stages(tmp_path, *stages))


def test_one_experiment_is_asked_for_and_a_stage_is_named(tmp_path: Path) -> None:
    path = write_stages(tmp_path, TEACHER, STUDENT)
    with pytest.raises(ValueError, match="describes several stages; expected one experiment"):
        load_config(path)
    configs = load_stages(path)
    assert choose_stage(configs, "student") is configs[1] and choose_stage(configs[:1], None) is configs[0]
    for name, found in ((None, "none"), ("pupil", "'pupil'")):
        with pytest.raises(ValueError, match=rf"one of the file's stages \(teacher, student\), found {found}"):
            choose_stage(configs, name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"student": network(hidden_dim=5)},
            r"^stage student: .*equal sizes E, found 10 \(student\) and 8 \(teacher\)",
        ),
        ({"loss": {"task": "softmax_ce", "prediction": {"alpha": 1}}}, "give both stages one loss.task"),
    ],
)
def test_all_stages_are_checked_before_the_first_is_trained(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = write_stages(write_features(tmp_path), TEACHER, {**STUDENT, **changes})
    with pytest.raises(ValueError, match=message):
        train_stages(load_stages(path), world=WORLD)
    assert not (tmp_path / "runs").exists()


def test_weights_of_a_stage_with_another_architecture_are_refused_before_it_is_trained(tmp_path: Path) -> None:
    other = {**FINE_TUNED, "student": {"weights": "stage:student", "aggregator": {"hidden_dim": 5}}}
    with pytest.raises(ValueError, match="student.aggregator.hidden_dim is 5, but tiny.student, .* has 4"):
        train_stages(load_stages(write_stages(write_features(tmp_path), TEACHER, STUDENT, other)), world=WORLD)
    assert not (tmp_path / "runs").exists()


def test_a_network_is_called_what_it_is_in_its_file(tmp_path: Path) -> None:
    teacher, student, tuned = configs = load_stages(write_stages(tmp_path, TEACHER, STUDENT, FINE_TUNED))
    assert role_of(teacher, configs, "student") == "teacher"
    assert (role_of(student, configs, "student"), role_of(student, configs, "teacher")) == ("student", "teacher")
    assert role_of(tuned, configs, "student") == role_of(teacher, [teacher], "student") == "model"


def test_a_checkpoint_to_resume_from_is_for_one_experiment(tmp_path: Path) -> None:
    configs = load_stages(write_stages(tmp_path, TEACHER, STUDENT))
    with pytest.raises(ValueError, match="--resume: expected auto, last or none for a file of several stages"):
        train_stages(configs, world=WORLD, resume="last.pt")


def test_a_teacher_that_was_trained_on_fewer_frames_than_it_teaches_on_is_refused(tmp_path: Path) -> None:
    path = write_stages(write_features(tmp_path), {"name": "teacher"}, STUDENT)
    with pytest.raises(ValueError, match=r"tiny.student: the teacher sees 8 frames \(data.max_frames\), but .* on 4;"):
        train_stages(load_stages(path), world=WORLD)
    assert not (tmp_path / "runs").exists()
    check_stages(load_stages(path, ["stages.teacher.data.views.student.num_frames=null"]))
    check_stages(load_stages(path, ["stages.teacher.data.views.student={num_frames: 8, selection: first}"]))
    with pytest.raises(ValueError, match=r"sees 8 frames .* on 5;"):
        check_stages(load_stages(path, ["stages.teacher.data={max_frames: 5}", "data.views.student.num_frames=5"]))
    # One that goes on learning sees the rest then.
    joint = {"update": "joint", "batch_norm": "batch_stats"}
    check_stages(load_stages(path, [f"stages.student.teacher.{key}={value}" for key, value in joint.items()]))


def test_an_override_of_all_stages_needs_one_of_each_stage_that_sets_the_key_itself(tmp_path: Path) -> None:
    folder = write_features(tmp_path)
    path = write_stages(folder, TEACHER, {**STUDENT, "optimizer": {"lr": 0.5}})
    message = r"use stages\.student\.optimizer\.lr=\.\.\.; for teacher keep 'optimizer\.lr=0\.25' beside it"
    with pytest.raises(ValueError, match=message):
        load_stages(path, ["optimizer.lr=0.25"])
    configs = load_stages(path, ["optimizer.lr=0.25", "stages.student.optimizer.lr=0.125"])
    assert [config.optimizer.lr for config in configs] == [0.25, 0.125]


def test_a_file_with_stages_needs_a_name(tmp_path: Path) -> None:
    tree = {**experiment(tmp_path, tmp_path / "runs"), "stages": [TEACHER]}
    with pytest.raises(ValueError, match="name: expected a value, found none"):
        load_stages({key: value for key, value in tree.items() if key != "name"})


def test_a_folder_of_runs_may_have_any_letters(tmp_path: Path) -> None:
    path = write_stages(tmp_path, TEACHER, STUDENT)
    (tmp_path / "runs of \U00020bb7" / "tiny.teacher").mkdir(parents=True)
    teacher, student = load_stages(path, [f"runs={tmp_path}/runs of \U00020bb7"])
    (teacher.folder / "config.yaml").write_text(write_yaml(teacher.resolved()))
    assert load_stage(student).folder == teacher.folder
