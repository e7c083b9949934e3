"""What holds for the recognizers of every family."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from reskd.losses.config import LossConfig
from reskd.losses.distillation import DistillationLoss
from reskd.models.config import parse_recognizer
from reskd.models.families.registry import build_recognizer
from reskd.models.recognizer import Recognizer
from reskd.models.teacher import Teacher
from reskd.models.teacher_config import TeacherConfig
from reskd.profiling.flops import count_macs
from reskd.profiling.resource_estimate import estimate_memory
from tests.reskd.models.families.families import FAMILIES, NUM_CLASSES, assert_alike, make, make_clips
from tests.reskd.training import tiny

torch.set_num_threads(1)


@cache
def _shared(family: str) -> Recognizer:
    """Built once, in eval mode; a test that trains a model makes its own."""
    return make(family).eval()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 97), (70, 32)])
@torch.no_grad()
def test_any_size_from_32_pixels(family: str, height: int, width: int) -> None:
    model = _shared(family)
    output = model(make_clips(1, 2, height, width))
    assert output.logits_NK.shape == (1, NUM_CLASSES)
    assert output.logits_NK.isfinite().all()
    num_frames, grid = model.num_feature_frames(2), (-(-height // 32), -(-width // 32))
    assert output.features_NTDHW.shape == (1, num_frames, model.feature_dim, *grid)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_clips_do_not_mix_and_each_may_have_any_length_that_patches_fit(family: str) -> None:
    model = _shared(family)
    for num_frames in (2, 6):
        frames_NTHWC = make_clips(2, num_frames, 32, 48)
        together, alone = model(frames_NTHWC), model(frames_NTHWC[1:])
        assert together.features_NTDHW.shape[1] == model.num_feature_frames(num_frames)
        assert_alike(together.logits_NK[1:], alone.logits_NK)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_scores_are_the_heads_of_the_mean_feature(family: str) -> None:
    model = _shared(family)
    output = model(make_clips(2, 4, 64, 48))
    expected_NK = model.head(output.features_NTDHW.mean((1, 3, 4)))
    assert_alike(output.logits_NK, expected_NK)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_meta_device_builds_it_and_memory_and_operations_are_counted_there(family: str) -> None:
    with torch.device("meta"):
        model = build_recognizer(parse_recognizer(FAMILIES[family] | {"weights": "IMAGENET1K_V1"}), NUM_CLASSES)
    assert all(value.is_meta for value in (*model.parameters(), *model.buffers()))
    need = estimate_memory(model, None, {"student": (4, 64, 64)}, "fp32")
    macs = count_macs(model.eval(), (4, 64, 64))
    assert need.bytes_per_clip > 10**6
    assert macs.total > 10**7
    assert macs.total == sum(part.macs for part in macs.parts.values())
    assert macs.head == model.feature_dim * NUM_CLASSES


@pytest.mark.parametrize("family", FAMILIES)
def test_bf16_autocast_trains_every_parameter(family: str) -> None:
    model = make(family, **({"stochastic_depth": 0} if family.startswith("swin") else {}))
    # Four frames: of two, torch 2.15's convolution over three reads memory it never wrote (docs/lab_notes.md).
    with torch.autocast("cpu", torch.bfloat16):
        output = model(make_clips(2, 4, 64, 64))
        terms = DistillationLoss(LossConfig())(output, torch.tensor([0, 1]), None)
    terms.total.backward()
    without = [
        name for name, value in model.named_parameters() if value.grad is None or not value.grad.isfinite().all()
    ]
    assert not without


@pytest.mark.parametrize("batch_norm", ["batch_stats", "running_stats"])
@pytest.mark.parametrize("family", ["tsm", "slow_only", "swin"])
def test_a_teacher_answers_alike_in_every_mode_and_nothing_in_it_moves(family: str, batch_norm: Any) -> None:
    teacher = Teacher(make(family), TeacherConfig(batch_norm=batch_norm))
    frames_NTHWC = make_clips(2, 2, 64, 64)
    expected = teacher(frames_NTHWC)  # folds batch norm with running statistics into convolutions
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    nn.ModuleList([teacher]).train()
    assert_alike(teacher(frames_NTHWC).logits_NK, expected.logits_NK)
    assert not expected.features_NTDHW.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    has_batch_norm = family != "swin"
    alone_NK = teacher(frames_NTHWC[:1]).logits_NK
    is_alone_alike = torch.allclose(alone_NK, expected.logits_NK[:1], rtol=1e-3, atol=1e-4)
    assert is_alone_alike is not (has_batch_norm and batch_norm == "batch_stats")


@pytest.mark.parametrize("family", ["tsm", "slow_only", "swin"])
@torch.no_grad()
def test_an_exported_network_takes_any_batch(family: str) -> None:
    model = _shared(family)
    # Without a largest batch, torch 2.6 finds a guard against 2**63 - 1 clips.
    batch = {"data": {0: torch.export.Dim("N", max=1024)}}
    exported = torch.export.export(model, (make_clips(2, 2, 32, 32),), dynamic_shapes=batch, strict=False).module()
    for num_clips in (1, 3):
        frames_NTHWC = make_clips(num_clips, 2, 32, 32)
        assert_alike(exported(frames_NTHWC).logits_NK, model(frames_NTHWC).logits_NK)


@pytest.mark.parametrize("family", ["tsm", "slow_only", "swin"])
def test_the_trainer_rehearses_and_trains_it(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step of two clips, against a teacher of its kind at a larger view."""
    monkeypatch.setattr(tiny, "SHAPES", {"teacher": (2, 64, 64), "student": (2, 32, 48)})
    monkeypatch.setattr(tiny, "TinyRecognizer", lambda *_: make(family))
    monkeypatch.setattr(tiny, "TinyTeacher", lambda _: Teacher(make(family), TeacherConfig(batch_norm="batch_stats")))
    trainer = tiny.make_trainer(tmp_path / "run", epochs=1 / 12, global_batch_size=2, max_clips_per_pass=2)
    assert trainer.plan.total_steps == 1
    before = trainer.trainable.student.head.weight.detach().clone()
    trainer.fit()
    assert not torch.equal(trainer.trainable.student.head.weight, before)


@pytest.mark.parametrize("family", ["tsm", "slow_only", "swin"])
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 4, 31, 64, 3), r"expected 32 x 32 pixels or more, found 31 x 64"),
        ((2, 4, 3, 64, 64), r"expected \(N, T, H, W, 3\).*found \(2, 4, 3, 64, 64\)"),
        ((2, 0, 64, 64, 3), r"none of them 0, found \(2, 0, 64, 64, 3\)"),
    ],
)
def test_wrong_frames_are_named(family: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _shared(family)(torch.zeros(shape, dtype=torch.uint8))
