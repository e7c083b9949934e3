from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from dali_pipes.sampling.spec import ONE_TEST_VIEW, rules_from_config
from reskd.experiment.config import ExperimentConfig, load_config, parse_config, recognizer_from, referred_stage
from reskd.experiment.config_files import read_settings
from reskd.experiment.networks import build_networks, view_shapes
from reskd.experiment.protocol import describe_protocol
from reskd.experiment.renamed_keys import RENAMED_KEYS, RENAMED_VALUES
from reskd.experiment.stages import check_stages, load_stages, teacher_stage
from reskd.models.recognizer import data_shape
from tests.reskd.experiment.resolved_configs import shipped_configs


def tree(**changes: Any) -> dict[str, Any]:
    return {
        "name": "x",
        "data": {
            "root": "data",
            "train": "train.csv",
            "views": {"teacher": {"size": 64}, "student": {"size": 32}},
        },
        "teacher": {"model": {"backbone": "resnet18"}, "batch_norm": "batch_stats"},
        "student": {"backbone": "resnet18"},
        "loss": {"pixel": {"alpha": 100}},
        "optimizer": {"lr": 0.1},
        "training": {"epochs": 1, "global_batch_size": 8},
        **changes,
    }


def test_the_resolved_config_reads_back_as_itself() -> None:
    config = parse_config(tree())
    assert ExperimentConfig.model_validate(yaml.safe_load(yaml.safe_dump(config.resolved()))) == config


@pytest.mark.parametrize("path", shipped_configs(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_config_builds_on_the_meta_device(path: Path) -> None:
    configs = load_stages(path)
    if len(configs) > 1:
        check_stages(configs)
    for config in configs:
        stage = teacher_stage(config, configs)
        student, teacher, _ = build_networks(config, num_classes=200, device=torch.device("meta"), stage=stage)
        shapes = view_shapes(config)
        with torch.device("meta"):
            output = student.eval()(torch.empty(data_shape(shapes["student"], 1), dtype=torch.uint8))
            assert output.logits_NK.shape == (1, 200)
            if teacher is not None:
                taught = teacher(torch.empty(data_shape(shapes["teacher"], 2), dtype=torch.uint8))
                if config.loss.pixel and config.loss.pixel.projection == "none":
                    assert taught.features_NTDHW.shape[2] == output.features_NTDHW.shape[2]
        stem = config.name if len(configs) == 1 else config.name.rpartition(".")[0]
        expected = (path.stem, f"{path.parent.name}_{path.stem}")
        assert stem in expected, "the name says family, teacher, student and data set, and so does the file"


def test_the_headline_recipe_is_the_papers() -> None:
    config = load_config("configs/paper/activitynet_resnet152-224_resnet50-112.yaml")
    teacher = load_config(config.teacher.stage)  # type: ignore[union-attr, arg-type]
    assert (teacher.student.backbone, config.student.backbone) == ("resnet152", "resnet50")
    assert view_shapes(config) == {"student": (16, 112, 112), "teacher": (16, 224, 224)}
    assert config.teacher.batch_norm == "batch_stats"  # type: ignore[union-attr]
    assert config.loss.pixel.alpha == 100  # type: ignore[union-attr]
    assert config.student.weights == "IMAGENET1K_V1"
    assert config.student.head_init_std == 0.001
    assert config.student.dropout == 0.5
    optimizer = config.optimizer
    assert (optimizer.name, optimizer.lr, optimizer.momentum, optimizer.weight_decay) == ("sgd", 0.01, 0.9, 1e-4)
    assert optimizer.bias_lr_factor == 2
    training = config.training
    assert (training.epochs, training.global_batch_size, training.clip_norm) == (200, 64, 20)
    assert (config.schedule.kind, config.schedule.final_factor, config.schedule.warmup_epochs) == ("cosine", 0, 0)
    assert config.data.sampling.crop.scales == (1.0, 0.875, 0.75, 0.66)  # type: ignore[union-attr]
    assert config.data.sampling.test_crop_ratio == 224 / 256


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": {"lr": 0.1, "momentun": 0.9}}, "unknown key optimizer.momentun; did you mean momentum?"),
        ({"trainng": {}}, "unknown key trainng; did you mean training?"),
        ({"optimizer": {"lr": "fast"}}, "optimizer.lr: should be a valid number, .*found 'fast'"),
        ({"optimizer": {}}, "optimizer.lr: expected a value, found none; it has no default"),
        ({"teacher": None}, "loss.pixel needs a teacher; add teacher.stage or teacher.model, or remove loss.pixel"),
        ({"loss": {}}, "a teacher is named, but no loss term uses it"),
        (
            {"teacher": None, "loss": {"logit_map": {"alpha": 1}}},
            "loss.logit_map needs a teacher; .*remove loss.log",
        ),
        (
            {"loss": {"logit_map": {"alpha": 1}}},
            "loss.logit_map needs a trained teacher, but teacher.model.weights is none",
        ),
        ({"loss": {"pixel": {"alpha": 1, "projecton": "linear"}}}, "loss.pixel.projecton; did you mean projection"),
        (
            {"loss": {"pixel": {"alpha": 1}, "time": "equel"}},
            "loss.time: should be 'equal', 'nearest' or",
        ),
        ({"teacher": None, "loss": {"time": "nearest"}}, "loss: time = nearest applies to feature maps only"),
        ({"teacher": {"batch_norm": "batch_stats"}}, "expected exactly one of stage and model"),
        (
            {"teacher": {"checkpoint": "best", "model": {"backbone": "resnet18"}, "batch_norm": "batch_stats"}},
            "teacher.checkpoint: expected last beside teacher.model, found best",
        ),
        ({"teacher": {"model": {"backbone": "resnet18"}}}, "teacher.batch_norm: expected a value, found none"),
        (
            {"student": {"backbone": "resnet18", "batch_norm": "running_stats"}},
            "student.batch_norm = running_stats keeps a part of the initial weights .*student.weights is none; set",
        ),
        (
            {
                "teacher": {
                    "model": {"backbone": "resnet18", "batch_norm": "running_stats"},
                    "batch_norm": "batch_stats",
                }
            },
            "teacher.model.batch_norm: expected batch_stats, found running_stats; only student has this setting",
        ),
        (
            {"student": {"backbone": "resnet18", "frozen_stages": "all"}},
            "student.frozen_stages = all keeps a part of the initial weights .*student.weights is none",
        ),
        (
            {"student": {"backbone": "resnet18", "weights": "IMAGENET1K_V1", "frozen_stages": -1}},
            "student.frozen_stages: expected a number of stages, or all, found '-1'",
        ),
        (
            {"student": {"backbone": "resnet18", "weights": "IMAGENET1K_V1", "frozen_stages": "some"}},
            "student.frozen_stages: expected a number of stages, or all, found 'some'",
        ),
        (
            {"student": {"family": "slow_only", "backbone": "resnet50", "frozen_stages": 1}},
            "unknown key student.frozen_stages",
        ),
        (
            {"runtime": {"compile": "all"}, "loss": {"pixel": {"alpha": "auto"}}},
            "loss.pixel.alpha = auto compares gradients inside the student, which runtime.compile = all makes one step",
        ),
        (
            {"metrics": {"top1": {"build": "torchmetrics.classification:MulticlassF1Score"}}},
            "metrics.top1: expected a name that no metric of this program has",
        ),
        ({"student": {"backbone": "resnet17"}}, "student.backbone: should be 'resnet18'.*found 'resnet17'"),
    ],
)
def test_a_fault_is_named_with_its_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_config(tree(**changes))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"max_frames": 4, "views": {"student": {"num_frames": 8}}},
            r"config: data: views\.student\.num_frames = 8 is",
        ),
        (
            {"views": {"student": {"num_frame": 8}}},
            r"config: unknown key data\.views\.student\.num_frame; did you mean",
        ),
        ({"groups": {"rgb": 0}}, r"config: data\.groups\.rgb: should be greater than or equal to 1, found 0"),
    ],
)
def test_the_kind_of_a_group_is_no_key(data: dict[str, Any], message: str) -> None:
    features = {"kind": "features", "root": "data", "train": "train*", "num_classes": 3, **data}
    with pytest.raises(ValueError, match=message):
        parse_config(tree(data=features))


def test_settings_of_a_recognizer_are_read_over_known_ones_and_leave_them_alone() -> None:
    known = {"family": "features", "aggregator": {"kind": "netvlad", "hidden_dim": 8}}
    read = read_settings(["aggregator.num_clusters=4", "classifier.kind=logistic"], where="--model", over=known)
    assert read["aggregator"] == {"kind": "netvlad", "hidden_dim": 8, "num_clusters": 4}
    assert known["aggregator"] == {"kind": "netvlad", "hidden_dim": 8}
    assert recognizer_from(read, where="--model").aggregator.num_clusters == 4  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["backbone=resnet18", "stage_stride=[1]"], "--model: unknown key stage_stride; did you mean stage_strides"),
        (["family=features", "aggregator.kind=mean"], "--model: classifier: expected a value, found none"),
        (["family=features", "aggregator.kind=netvlad", "aggregator.hidden=8", "classifier.kind=logistic"],
         "--model: unknown key aggregator.hidden; did you mean hidden_dim"),
        (["backbone={"], "--model: 'backbone={': expected YAML as the value, found"),
        (["backbone"], "--model: expected a setting of the form key.sub=value, found 'backbone'"),
    ],
)  # fmt: skip
def test_faults_of_a_recognizer_are_told_as_those_of_an_experiment(settings: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recognizer_from(read_settings(settings, where="--model"), where="--model")


@pytest.mark.parametrize(
    ("views", "sampling", "message"),
    [
        ({"teacher": {"size": 32}, "student": {"size": 64}}, {}, "the student's view .*is larger than the teacher's"),
        ({"student": {"size": 32}}, {}, "student.source is teacher_view, but there is no teacher view"),
        (
            {"teacher": {"size": 64}, "student": {"size": 32, "num_frames": 9}},
            {"num_frames": 8},
            "num_frames = 9 is more than sampling.num_frames = 8",
        ),
        (
            {"teacher": {"size": 64}, "student": {"size": 32}},
            {"crop": {"kind": "multi_scale", "scale": [1.0]}},
            "unknown key data.sampling.crop.scale; did you mean scales?",
        ),
        (
            {"teacher": {"size": 64}, "student": {"size": 32}},
            {"frames": {"kind": "dense"}},
            r"data\.sampling\.frames\.stride: expected a value, found none",
        ),
        (
            {"teacher": {"size": 64}, "student": {"size": 32}},
            {"frames": {"kind": "segments", "strid": 2}},
            "unknown key data.sampling.frames.strid; did you mean stride",
        ),
        (
            {"teacher": {"size": 64}, "student": {"size": 32}},
            {"test_crops": 2},
            "data.sampling.test_crops: should be 1 or 3, found 2",
        ),
    ],
)
def test_views_that_cannot_be_are_refused(views: Any, sampling: Any, message: str) -> None:
    data = {"root": "data", "train": "train.csv", "views": views, "sampling": sampling}
    with pytest.raises(ValueError, match=message):
        parse_config(tree(data=data))


def test_the_frame_sampler_is_chosen_by_kind() -> None:
    data = {"root": "data", "train": "train.csv", "views": {"student": {"size": 32, "source": "decoded"}}}
    sampling = {"num_frames": 32, "frames": {"kind": "dense", "stride": 2, "short_video": "loop"}, "test_clips": 4}
    config = parse_config(tree(data={**data, "sampling": sampling}, teacher=None, loss={}))
    rules = rules_from_config(config.data.sampling, view_size=(32, 32), mode="train")
    assert (rules.frame_kind, rules.num_frames, rules.stride, rules.short_video) == ("dense", 32, 2, "loop")
    assert rules.random_frames and rules.test_views == ONE_TEST_VIEW
    assert (config.data.sampling.val_clips, config.data.sampling.val_crops) == (1, 1)
    assert "4 clip(s) a video, 32 frames 2 apart" in describe_protocol(config, "student")


def test_overrides_are_yaml_and_reach_deep(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(tree()))
    config = load_config(
        path, ["data.sampling.num_frames=4", "training.clip_norm=null", "data.views.student.size=[32, 40]"]
    )
    assert config.data.sampling.num_frames == 4
    assert config.training.clip_norm is None
    assert config.data.views.student.size == (32, 40)


def test_a_bad_override_or_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "demo_student.yaml"
    path.write_text(yaml.safe_dump(tree()))
    with pytest.raises(ValueError, match=r"expected a setting of the form key\.sub=value, found 'lr'"):
        load_config(path, ["lr"])
    with pytest.raises(ValueError, match=r"unknown key optimizer\.lrr; did you mean lr"):
        load_config(path, ["optimizer.lrr=1"])
    with pytest.raises(FileNotFoundError, match=r"Did you mean .*demo_student\.yaml"):
        load_config(tmp_path / "demo_studnet.yaml")
    path.write_text("a: [")
    with pytest.raises(ValueError, match="expected YAML"):
        load_config(path)


def test_the_error_of_an_old_name_says_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RENAMED_KEYS, "optimizer.speed", "optimizer.lr")
    monkeypatch.setitem(RENAMED_KEYS, "student.network", "student.backbone")
    monkeypatch.setitem(RENAMED_VALUES, ("student.backbone", "r18"), "resnet18")
    with pytest.raises(ValueError, match=r"^config: unknown key optimizer\.speed; it was renamed to optimizer\.lr\.$"):
        parse_config(tree(optimizer={"lr": 0.1, "speed": 0.2}))
    settings = {"backbone": "resnet18", "network": "r18"}
    said = r"network; it was renamed to student\.backbone, and its value r18 to resnet18\.$"
    with pytest.raises(ValueError, match=said):
        parse_config(tree(student=settings))
    with pytest.raises(ValueError, match=r"^x: unknown key network; it was renamed to backbone, and its value r18 to"):
        recognizer_from(settings, where="x")
    with pytest.raises(
        ValueError, match=r"student\.backbone: should be .*, found 'r18'; r18 was renamed to resnet18\.$"
    ):
        parse_config(tree(student={"backbone": "r18"}))


def test_a_reference_to_a_stage_is_told_from_a_path() -> None:
    assert referred_stage("stage:teacher") == "teacher"
    assert [referred_stage(source) for source in (None, "none", "IMAGENET1K_V1", "configs/demo/teacher.yaml")] == [
        None
    ] * 4
    config = parse_config(tree(name="x.student"))
    assert config.stage_folder("teacher") == Path("runs/x.teacher")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("training.epochs", True, "training.epochs: should be a valid number, found True"),
        ("training.epochs", "10", "training.epochs: should be a valid number, found '10'"),
        ("training.epochs", 1e30, "training.epochs: should be less than or equal to 1000000"),
        ("training.epochs", float("inf"), "training.epochs: should be a finite number"),
        ("data.sampling.num_frames", 1e30, "num_frames: should be a valid integer, found 1e"),
        ("data.sampling.num_frames", 8.0, "num_frames: should be a valid integer, found 8.0"),
        ("data.sampling.test_crops", True, "test_crops: expected a number, found true"),
        ("data.views.student.size", 10**9, "size.0: should be less than or equal to 8192"),
        ("data.loader.num_workers", 10**6, "num_workers: expected a number from 1 to 1024, or auto, found '1000000'"),
        ("data.loader.sparse_decode", 1, "sparse_decode: should be a valid boolean, found 1"),
        ("training.log_every_steps", 10**10, "log_every_steps: should be less than or equal to 1000000000"),
        ("optimizer.lr", 1e30, "optimizer.lr: should be less than or equal to 1000000000000"),
        ("loss.pixel.alpha", "abc", "loss.pixel.alpha: expected a number from 0 to 1e.12, or auto, .*, found 'abc'"),
        ("optimizer.betas", [0.9, 1.0], "optimizer.betas.1: should be less than 1, found 1.0"),
        ("data.train", None, "^config: data.train: expected a path, found None"),
        ("data.root", 1, "data.root: expected a path, found 1; a number needs quotes"),
        ("data.root", "~/videos", "data.root: expected a whole path, found '~/videos'; write out what ~ stands for"),
        ("data.views", 3, "data.views: expected a group of settings, found 3"),
        ("student", None, "^config: student: expected a group of settings, found None"),
        ("data.group_pattern", "(", "group_pattern: expected a regular expression, found '\\('"),
        ("data.group_pattern", "a", "group_pattern: expected a pair of parentheses"),
    ],
)
def test_a_value_of_another_kind_or_out_of_bounds_is_refused(key: str, value: Any, message: str) -> None:
    changed = tree()
    *groups, last = key.split(".")
    node = changed
    for group in groups:
        node = node.setdefault(group, {})
    node[last] = value
    with pytest.raises(ValueError, match=message):
        parse_config(changed)


def test_an_automatic_weight_needs_a_teacher_that_is_trained() -> None:
    settings = tree(loss={"pixel": {"alpha": "auto"}})
    assert parse_config(settings).resolved()["loss"]["pixel"]["alpha"] == "auto"
    settings["teacher"]["update"] = "joint"
    with pytest.raises(ValueError, match=r"loss\.pixel\.alpha = auto measures .* teacher\.update = joint"):
        parse_config(settings)


def test_an_unknown_key_is_compared_with_those_of_its_own_family() -> None:
    network = {"family": "python", "build": "net.py:build", "backbone": "resnet18"}
    with pytest.raises(ValueError, match="unknown key student.backbone; known here: arguments, batch_norm, build, "):
        parse_config(tree(student=network))
