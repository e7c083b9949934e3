"""The shipped configs against the values of the public code of both papers.

github.com/CVMI-Lab/ResKD at 9948fe3: a row is (our key, our value, the public file under configs/ and its setting).
github.com/shwetabhardwaj44/EfficientVideoClassification_Youtube8M at cd5ec8c: the same, with the file and its line.
What differs on purpose is in the tables of docs/models.md and docs/fewer_frames.md, and has a row here too.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from reskd.experiment.config import load_config
from reskd.experiment.stages import load_stages

_STUDENT_2D = "_base_/schedules/sgd_rkd_50e.py"
_TEACHER_2D = "_base_/schedules/sgd_tsm_50e.py"
_SLOW = "myconfig/rkd/rkd_slowonly_8x8x1_150e_k400.py"
_SWIN = "myconfig/rkd/rkd_swins_32x2x1_60e_k400.py"

_OF_2D: list[tuple[str, Any, str]] = [
    ("optimizer.name", "sgd", f"{_STUDENT_2D}: SGD"),
    ("optimizer.lr", 0.01, f"{_STUDENT_2D}: lr=0.01 for 8 GPUs"),
    ("optimizer.momentum", 0.9, f"{_STUDENT_2D}: momentum=0.9"),
    ("optimizer.weight_decay", 1e-4, f"{_STUDENT_2D}: weight_decay=0.0001"),
    ("optimizer.bias_lr_factor", 2.0, "RKDOptimizerConstructor: biases lr_mult 2"),
    ("optimizer.also_decayed", [], "RKDOptimizerConstructor: biases and batch norm decay_mult 0"),
    ("schedule.kind", "cosine", f"{_STUDENT_2D}: CosineAnnealing, min_lr=0"),
    ("schedule.cosine_by", "epoch", "mmcv's LrUpdaterHook: by_epoch=True"),
    ("schedule.warmup_epochs", 0.0, f"{_STUDENT_2D}: none"),
    ("training.clip_norm", 20.0, f"{_STUDENT_2D}: max_norm=20"),
    ("training.precision", "fp32", "no fp16 hook"),
    ("training.global_batch_size", 64, "videos_per_gpu=8 on 8 GPUs"),
    ("student.head_init_std", 0.001, "_base_/models/rkd_r152_r50.py: init_std=0.001"),
    ("student.dropout", 0.5, "_base_/models/rkd_r152_r50.py: dropout_ratio=0.5"),
    ("loss.pixel.alpha", 100.0, "_base_/models/rkd_r152_r50.py: w_loss_kd=100"),
    ("teacher.batch_norm", "batch_stats", "RKD: the teacher stays in training mode"),
    ("data.val_fraction", 0.02, "DIFFERS: public 0, and the test list chooses the epoch"),
]
_OF_SLOW_ONLY: list[tuple[str, Any, str]] = [
    ("optimizer.lr", 0.01, f"{_SLOW}: lr=0.01"),
    ("optimizer.weight_decay", 1e-4, f"{_SLOW}: weight_decay=0.0001"),
    ("optimizer.bias_lr_factor", 1.0, f"{_SLOW}: plain SGD"),
    ("optimizer.also_decayed", ["biases", "norms"], f"{_SLOW}: plain SGD decays all"),
    ("schedule.kind", "step", f"{_SLOW}: step"),
    ("schedule.milestones", [90.0, 130.0], f"{_SLOW}: step=[90, 130]"),
    ("schedule.warmup_epochs", 10.0, f"{_SLOW}: warmup_iters=10 by epoch"),
    ("schedule.warmup_start_factor", 0.1, "mmcv's LrUpdaterHook: warmup_ratio=0.1"),
    ("training.epochs", 150, f"{_SLOW}: total_epochs"),
    ("training.clip_norm", 40.0, f"{_SLOW}: max_norm=40"),
    ("training.precision", "fp32", "no fp16 hook"),
    ("student.head_init_std", 0.01, "RKD3DHead and I3DHead: init_std=0.01"),
    ("data.sampling.frames.stride", 8, f"{_SLOW}: frame_interval=8"),
    ("data.sampling.frames.test_starts", "centers", "SampleFrames._get_test_clips"),
    ("data.sampling.frames.short_video", "loop", "SampleFrames: out_of_bound_opt=loop"),
    ("data.sampling.test_clips", 10, f"{_SLOW}: num_clips=10"),
    ("data.sampling.test_crops", 3, f"{_SLOW}: ThreeCrop"),
]
_OF_SWIN: list[tuple[str, Any, str]] = [
    ("optimizer.name", "adamw", f"{_SWIN}: AdamW"),
    ("optimizer.lr", 1e-3, f"{_SWIN}: lr=1e-3"),
    ("optimizer.betas", [0.9, 0.999], f"{_SWIN}: betas"),
    ("optimizer.weight_decay", 0.02, f"{_SWIN}: weight_decay=0.02"),
    ("optimizer.backbone_lr_factor", 0.1, f"{_SWIN}: backbone lr_mult=0.1"),
    ("optimizer.bias_lr_factor", 1.0, f"{_SWIN}: biases have no key"),
    ("optimizer.also_decayed", ["biases", "norms"], f"{_SWIN}: the key 'backbone' is longer than 'norm' and wins"),
    ("optimizer.position_table_lr_factor", 1.0, f"{_SWIN}: relative_position_bias_table has decay_mult only"),
    ("schedule.cosine_by", "epoch", "mmcv's LrUpdaterHook: by_epoch=True"),
    ("schedule.warmup_epochs", 2.5, f"{_SWIN}: warmup_iters=2.5 by epoch"),
    ("schedule.warmup_start_factor", 0.1, "mmcv's LrUpdaterHook: warmup_ratio=0.1"),
    ("training.epochs", 60, f"{_SWIN}: total_epochs"),
    ("training.clip_norm", None, f"{_SWIN}: grad_clip=None"),
    ("training.precision", "fp16", f"{_SWIN}: use_fp16"),
    ("training.global_batch_size", 512, f"{_SWIN}: 4 videos on 8 GPUs, update_interval=16"),
    ("student.head_init_std", 0.01, "GeneralRKD3DHead: init_std=0.01"),
    ("student.stochastic_depth", 0.1, "_base_/models/rkd_swinb_swins.py: drop_path_rate=0.1"),
    ("teacher.stochastic_depth", True, "RKD: the teacher stays in training mode"),
    ("teacher.model.stochastic_depth", 0.1, "_base_/models/rkd_swinb_swins.py: drop_path_rate=0.1"),
    ("loss.logit_map.alpha", 200.0, f"{_SWIN}: w_loss_kd=200"),
    ("loss.logit_map.temperature", 2.0, "GeneralRKD3DHead"),
    ("data.sampling.frames.test_starts", "centers", "SampleFrames._get_test_clips"),
    ("data.sampling.test_clips", 4, f"{_SWIN}: num_clips=4"),
]
RECIPES: dict[str, list[tuple[str, Any, str]]] = {
    "activitynet_resnet152-224_resnet50-112": [*_OF_2D, ("training.epochs", 200, "rkd_r152_1x1x16_200e_actnet.py")],
    "fcvid_resnet152-224_resnet50-112": [*_OF_2D, ("training.epochs", 200, "rkd_r152_1x1x16_200e_fcvid.py")],
    "minikinetics_resnet152-224_resnet50-112": [*_OF_2D, ("training.epochs", 100, "rkd_r152_1x1x8_100e_minik.py")],
    "ssv2_tsm-resnet50-224_tsm-resnet50-112": [
        *_OF_2D,
        ("training.epochs", 100, "rkd_tsm_1x1x8_100e_sthv2.py"),
        ("data.sampling.flip_probability", 0.0, "rkd_tsm_1x1x8_100e_sthv2.py: no Flip"),
        ("data.sampling.test_clips", 1, "rkd_tsm_1x1x8_100e_sthv2.py: no twice_sample"),
    ],
    "activitynet_resnet152-224": [
        ("optimizer.bias_lr_factor", 2.0, f"{_TEACHER_2D}: TSMOptimizerConstructor"),
        ("training.clip_norm", 20.0, f"{_TEACHER_2D}: max_norm=20"),
        ("training.epochs", 50, f"{_TEACHER_2D}: total_epochs"),
    ],
    "ssv2_tsm-resnet50-224": [
        ("optimizer.lr", 0.0075, "myconfig/tsm/tsm_r50_1x1x8_50e_sthv2_rgb.py"),
        ("optimizer.weight_decay", 5e-4, "myconfig/tsm/tsm_r50_1x1x8_50e_sthv2_rgb.py"),
        ("training.epochs", 50, f"{_TEACHER_2D}: total_epochs"),
    ],
    "kinetics400_slowonly-resnet50-224_slowonly-resnet50-112": [
        *_OF_SLOW_ONLY,
        ("data.sampling.flip_probability", 0.0, f"{_SLOW}: no Flip"),
        ("loss.pixel.alpha", 100.0, "_base_/models/rkd_slow_slow.py: w_loss_kd=100"),
        ("teacher.batch_norm", "batch_stats", "RKD: the teacher stays in training mode"),
    ],
    "kinetics400_slowonly-resnet50-224": [
        *_OF_SLOW_ONLY,
        ("data.sampling.flip_probability", 0.5, "myconfig/slowonly/slowonly_r50_8x8x1_150e_k400_rgb.py: Flip 0.5"),
    ],
    "kinetics400_swin3d_b-224_swin3d_s-112": _OF_SWIN,
    "kinetics400_swin3d_s-112": [row for row in _OF_SWIN if not row[0].startswith(("teacher", "loss"))],
}
_TRAIN, _MODELS = "train.py", "frame_level_models.py"
_OF_RELEASED: list[tuple[str, Any, str]] = [
    ("data.groups", {"rgb": 1024, "audio": 128}, "run_train.sh: --feature_sizes"),
    ("data.max_frames", 300, f"{_MODELS}:44: max_num_frames"),
    ("data.views.student.num_frames", 30, f"{_TRAIN}:262: 300 / every_n, 10 in run_train.sh"),
    ("data.views.student.selection", "every_jth_of_300", f"{_TRAIN}:262 to 271"),
    ("student.aggregator.block_length", 6, f"{_TRAIN}:356: num_inputs_L1 = 5 blocks of 30 frames"),
    ("student.aggregator.hidden_dim", 1024, f"{_MODELS}:37: lstm_cells"),
    ("student.aggregator.num_layers", 2, "run_train.sh: --lstm_layers 2"),
    ("student.classifier.kind", "mixture_of_experts", f"{_MODELS}:33: MoeModel"),
    ("student.classifier.num_experts", 2, "moe_num_mixtures"),
    ("student.classifier.dropout", 0.0, f"{_TRAIN}: the models do not use the dropout that they are given"),
    ("loss.task", "sigmoid_bce", f"{_TRAIN}: CrossEntropyLoss, summed over classes, mean over videos"),
    ("loss.task_weight", 1.0, f"{_TRAIN}:406: L_CE once"),
    ("optimizer.name", "adamw", f"{_TRAIN}: AdamOptimizer"),
    ("optimizer.lr", 1e-3, f"{_TRAIN}:75: base_learning_rate"),
    ("schedule.kind", "constant", f"{_TRAIN}:77: learning_rate_decay 1"),
    ("training.global_batch_size", 256, "run_train.sh: --batch_size 256"),
    ("optimizer.weight_decay", 0.0, "DIFFERS: regularization_penalty 2 x l2_penalty 1e-8, on the classifier alone"),
    ("training.clip_norm", 1.0, "DIFFERS: each tensor's gradient is clipped on its own"),
    ("data.val_fraction", 0.01, "DIFFERS: public 0"),
]
RELEASED: dict[str, list[tuple[str, Any, str]]] = {
    "student": [
        *_OF_RELEASED,
        ("teacher.update", "joint", f"{_TRAIN}:329, 413: two optimizers in one graph"),
        ("teacher.model.aggregator.block_length", 15, "run_train.sh: --num_inputs_to_lstm 20 blocks of 300 frames"),
        ("teacher.shares_head", False, f"{_TRAIN}: scopes model/classifier and model_student/classifier"),
        ("loss.embedding.alpha", 2.0, f"{_TRAIN}:406: student_loss_state twice"),
        ("loss.embedding.reduction", "sum", f"{_TRAIN}:359: reduce_sum over the state"),
        ("loss.prediction.alpha", 256.0, f"{_TRAIN}:402: reduce_sum over the batch of 256"),
        ("loss.prediction.distance", "kl", f"{_TRAIN}:398: Categorical"),
        ("training.epochs", 5.0, "run_train.sh: 5 runs of an epoch, 4 of them commented out"),
    ],
    "finetuned": [
        *_OF_RELEASED,
        ("student.weights", "stage:student", "run_convert_model.sh"),
        ("teacher", None, "train_finetune.py: L_CE alone"),
        ("training.epochs", 3.0, "run_finetune.sh: 3 runs of an epoch; run_eval.sh reads the third"),
    ],
}
ROWS = [(name, *row) for name, rows in RECIPES.items() for row in rows]


@cache
def _settings(name: str) -> dict[str, Any]:
    settings: dict[str, Any] = load_config(Path(f"configs/paper/{name}.yaml")).model_dump(mode="json")
    return settings


@cache
def _released(stage: str) -> dict[str, Any]:
    stages = load_stages(Path("configs/fewer_frames/yt8m_h-rnn-300_h-rnn-30_released.yaml"))
    settings: dict[str, Any] = next(one for one in stages if one.name.endswith(f".{stage}")).model_dump(mode="json")
    return settings


def _value(settings: Any, key: str) -> Any:
    for part in key.split("."):
        settings = settings[part]
    return settings


@pytest.mark.parametrize(("name", "key", "value", "source"), ROWS, ids=[f"{row[0]}: {row[1]}" for row in ROWS])
def test_a_setting_is_the_public_codes(name: str, key: str, value: Any, source: str) -> None:
    assert _value(_settings(name), key) == value, source


@pytest.mark.parametrize(
    ("stage", "key", "value", "source"), [(stage, *row) for stage, rows in RELEASED.items() for row in rows]
)
def test_a_setting_is_the_released_codes(stage: str, key: str, value: Any, source: str) -> None:
    assert _value(_released(stage), key) == value, source


@pytest.mark.parametrize(("document", "recipes"), [("models.md", RECIPES), ("fewer_frames.md", RELEASED)])
def test_the_named_differences_are_in_the_table_of_the_documents(
    document: str, recipes: dict[str, list[tuple[str, Any, str]]]
) -> None:
    text = Path("docs", document).read_text(encoding="utf-8")
    table = text.partition("### What differs from the public code")[2].partition("###")[0]
    named = {row[0] for rows in recipes.values() for row in rows if row[2].startswith("DIFFERS")}
    assert named
    for key in named:
        assert f"`{key}`" in table
