from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from dali_pipes.feature_config import FeatureDataConfig
from dali_pipes.sampling_rules import ONE_VIEW, rules_from_config
from reskd.config import ExperimentConfig, load_config, parse_config
from reskd.models.registry import build_recognizer
from reskd.networks import student_model, view_shapes
from reskd.run import describe_protocol
from reskd.stages import check_stages, load_stages

CONFIGS = sorted(Path("configs").glob("*.yaml"))


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


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_builds_on_the_meta_device(path: Path) -> None:
    configs = load_stages(path)
    check_stages(configs)
    for config in configs:
        *shape, of_frame = view_shapes(config)["student"]
        shape += [of_frame] if isinstance(config.data, FeatureDataConfig) else [of_frame, 3]
        with torch.device("meta"):
            student = build_recognizer(student_model(config).model_copy(update={"weights": "none"}), 200).eval()
            assert student(torch.empty(1, *shape, dtype=torch.uint8)).logits_NK.shape == (1, 200)
        assert config.name.partition(".")[0] == path.stem, "the name says family, teacher, student and data set"


def test_the_headline_recipe_is_the_papers() -> None:
    config = load_config("configs/activitynet_resnet152-224_resnet50-112.yaml")
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
            "loss.logit_map takes what a trained teacher knows, and teacher.model.weights is none",
        ),
        ({"loss": {"pixel": {"alpha": 1, "projecton": "linear"}}}, "loss.pixel.projecton; did you mean projection"),
        (
            {"loss": {"pixel": {"alpha": 1}, "time": "equel"}},
            "loss.time: should be 'equal', 'nearest' or",
        ),
        ({"teacher": None, "loss": {"time": "nearest"}}, "loss: time = nearest matches feature maps with a teacher's"),
        ({"teacher": {"batch_norm": "batch_stats"}}, "expected exactly one of stage and model"),
        ({"teacher": {"model": {"backbone": "resnet18"}}}, "teacher.batch_norm: expected a value, found none"),
        ({"student": {"backbone": "resnet17"}}, "student.backbone: should be 'resnet18'.*found 'resnet17'"),
    ],
)
def test_a_fault_is_named_with_its_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_config(tree(**changes))


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
    assert rules.random_frames and rules.views == ONE_VIEW
    assert (config.data.sampling.val_clips, config.data.sampling.val_crops) == (1, 1)
    assert "4 clip(s) a video, 32 frames 2 apart" in describe_protocol(config, "student")


def test_the_protocol_says_which_frames_the_student_sees() -> None:
    for view, said in (({"num_frames": 4}, "4 of 8 frames at"), ({"num_frames": 2, "selection": "first_middle_last"},
                       "2 of 8 frames (first middle last) at")):  # fmt: skip
        changed_tree = tree(loss={"pixel": {"alpha": 100}, "time": "nearest"})
        changed_tree["data"]["views"]["student"] |= view
        assert said in describe_protocol(parse_config(changed_tree), "student")


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
    with pytest.raises(ValueError, match=r"expected an override of the form key\.sub=value, found 'lr'"):
        load_config(path, ["lr"])
    with pytest.raises(ValueError, match=r"unknown key optimizer\.lrr; did you mean lr"):
        load_config(path, ["optimizer.lrr=1"])
    with pytest.raises(FileNotFoundError, match=r"Did you mean .*demo_student\.yaml"):
        load_config(tmp_path / "demo_studnet.yaml")
    path.write_text("a: [")
    with pytest.raises(ValueError, match="expected YAML"):
        load_config(path)
