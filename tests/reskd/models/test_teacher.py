"""The frozen teacher: nothing in it moves, whatever it is shown and whatever mode is asked for."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from reskd.losses.pixel import pixel_loss
from reskd.models.batch_norm_folding import fold_batch_norms
from reskd.models.config import SwinConfig, TsnConfig
from reskd.models.families.registry import build_recognizer
from reskd.models.teacher import Teacher
from reskd.models.teacher_config import TeacherConfig

torch.set_num_threads(1)
BatchNorm = Literal["batch_stats", "running_stats"]
MODES: list[BatchNorm] = ["batch_stats", "running_stats"]


def _teacher(batch_norm: BatchNorm, backbone: Literal["resnet18", "mobilenet_v2"] = "resnet18") -> Teacher:
    torch.manual_seed(0)
    model = build_recognizer(TsnConfig(backbone=backbone, head_init_std=0.1), 5)
    return Teacher(model, TeacherConfig(batch_norm=batch_norm))


def _frames(num_clips: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (num_clips, 2, 64, 64, 3), generator=generator).float()


def _bytes(teacher: nn.Module) -> dict[str, bytes]:
    tensors = (*teacher.named_parameters(), *teacher.named_buffers())
    return {name: value.detach().clone().contiguous().numpy().tobytes() for name, value in tensors}


@pytest.mark.parametrize("batch_norm", MODES)
@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v2"])
def test_no_parameter_and_no_buffer_moves(batch_norm: BatchNorm, backbone: Literal["resnet18", "mobilenet_v2"]) -> None:
    teacher = _teacher(batch_norm, backbone)
    teacher(_frames())  # folds batch norm with running statistics into convolutions
    before = _bytes(teacher)
    for value in (0.0, float("inf"), float("nan")):
        frames_NTHWC = _frames()
        frames_NTHWC[0] += value
        nn.ModuleList([teacher]).train()
        teacher(frames_NTHWC)
    teacher.eval()
    teacher(frames_NTHWC)
    assert any(name.endswith("num_batches_tracked") for name in before) == (batch_norm == "batch_stats")
    assert _bytes(teacher) == before


def _swin(stochastic_depth: float, *, drops: bool = True) -> Teacher:
    torch.manual_seed(0)
    model = build_recognizer(SwinConfig(family="swin", backbone="swin3d_t", stochastic_depth=stochastic_depth), 5)
    return Teacher(model, TeacherConfig(batch_norm="running_stats", stochastic_depth=drops))


def test_a_swin_drops_blocks_only_where_it_is_asked_to() -> None:
    frames_NTHWC = _frames(1)
    for teacher, is_random in [(_swin(0.9), True), (_swin(0.9, drops=False), False)]:
        found = [teacher(frames_NTHWC).features_NTDHW for _ in range(3)]
        assert torch.equal(found[0], found[1]) != is_random
        torch.manual_seed(3)
        first = teacher(frames_NTHWC).features_NTDHW
        torch.manual_seed(3)
        assert torch.equal(teacher(frames_NTHWC).features_NTDHW, first)


def test_blocks_to_drop_that_are_not_there_are_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"expected a teacher that drops blocks .*, found none; leave it out"):
        _swin(0.0)
    with pytest.raises(ValidationError, match="expected a frozen teacher, found a joint one"):
        TeacherConfig(update="joint", batch_norm="batch_stats", stochastic_depth=True)


def test_the_inf_batch_would_move_an_ordinary_recognizer() -> None:
    model = build_recognizer(TsnConfig(backbone="resnet18"), 5).train()
    before = _bytes(model)
    model(_frames() + float("inf"))
    assert _bytes(model) != before


@pytest.mark.parametrize("batch_norm", MODES)
def test_train_and_eval_change_no_answer_and_wake_no_dropout(batch_norm: BatchNorm) -> None:
    teacher, frames_NTHWC = _teacher(batch_norm), _frames()
    expected = teacher(frames_NTHWC)
    assert teacher.train() is teacher
    for mode in (True, False):
        nn.ModuleList([teacher]).train(mode)
        output = teacher(frames_NTHWC)
        assert torch.equal(output.logits_NK, expected.logits_NK)
        assert torch.equal(output.features_NTDHW, expected.features_NTDHW)


def test_batch_stats_answers_as_training_mode_does() -> None:
    teacher, frames_NTHWC = _teacher("batch_stats"), _frames()
    torch.manual_seed(0)
    model = build_recognizer(TsnConfig(backbone="resnet18", head_init_std=0.1, dropout=0), 5).train()
    torch.testing.assert_close(teacher(frames_NTHWC).logits_NK, model(frames_NTHWC).logits_NK)


def test_running_stats_answers_as_eval_mode_does() -> None:
    teacher, frames_NTHWC = _teacher("running_stats"), _frames()
    torch.manual_seed(0)
    model = build_recognizer(TsnConfig(backbone="resnet18", head_init_std=0.1), 5).eval()
    torch.testing.assert_close(teacher(frames_NTHWC).logits_NK, model(frames_NTHWC).logits_NK)


def test_batch_stats_depends_on_the_batch_and_running_stats_does_not() -> None:
    frames_NTHWC = _frames(num_clips=3)
    for batch_norm, depends in (("batch_stats", True), ("running_stats", False)):
        teacher = _teacher(batch_norm)  # type: ignore[arg-type]
        alone, together = teacher(frames_NTHWC[:1]).logits_NK, teacher(frames_NTHWC).logits_NK[:1]
        assert torch.allclose(alone, together, rtol=1e-3, atol=1e-4) is not depends


def test_features_can_be_saved_for_the_students_backward() -> None:
    teacher = _teacher("batch_stats")
    taught = teacher(_frames())
    assert not taught.features_NTDHW.requires_grad
    assert not taught.features_NTDHW.is_inference()
    student = torch.randn(2, 2, 512, 1, 1, requires_grad=True)
    pixel_loss(student, taught.features_NTDHW).backward()
    assert student.grad is not None
    assert student.grad.abs().sum() > 0
    assert not any(value.requires_grad for value in teacher.parameters())


def test_batch_norm_must_be_written_out() -> None:
    with pytest.raises(ValidationError, match="batch_norm"):
        TeacherConfig.model_validate({})


def test_a_joint_teacher_with_running_statistics_is_refused_with_the_reason() -> None:
    with pytest.raises(ValidationError, match=r"expected batch_stats, found running_stats; a joint teacher is trained"):
        TeacherConfig.model_validate({"update": "joint", "batch_norm": "running_stats"})


@pytest.mark.parametrize("batch_norm", MODES)
def test_weights_kept_in_half_precision_give_what_autocast_gives(batch_norm: BatchNorm) -> None:
    """Autocast converts fp32 weights anew in each pass, to the same values."""
    teacher, plain = _teacher(batch_norm), _teacher(batch_norm)
    if batch_norm == "running_stats":
        fold_batch_norms(plain.model, _frames())
    with torch.autocast("cpu", torch.bfloat16):
        found = teacher(_frames())
        with torch.no_grad():
            expected = plain.model(_frames())
    convolution = teacher.model.get_submodule("backbone.conv1")
    assert convolution.weight.dtype == torch.bfloat16
    assert found.features_NTDHW is not None and found.features_NTDHW.dtype == expected.features_NTDHW.dtype
    assert torch.equal(found.features_NTDHW, expected.features_NTDHW)
    assert torch.equal(found.logits_NK, expected.logits_NK)


def test_a_teacher_may_have_a_precision_of_its_own() -> None:
    """Its outputs are fp32 for a student in fp32, and within bf16's rounding of the teacher's in fp32."""
    config = TeacherConfig(batch_norm="running_stats", precision="bf16")
    teacher, in_fp32 = Teacher(_teacher("running_stats").model, config), _teacher("running_stats")
    found, expected = teacher(_frames()).features_NTDHW, in_fp32(_frames()).features_NTDHW
    assert found is not None and expected is not None and found.dtype == torch.float32
    assert 0 < (found - expected).norm() < 0.03 * expected.norm()
    with torch.autocast("cpu", torch.bfloat16):
        full = Teacher(_teacher("running_stats").model, TeacherConfig(batch_norm="running_stats", precision="fp32"))
        assert torch.equal(full(_frames()).features_NTDHW, expected)  # type: ignore[arg-type]


def test_half_precision_that_cannot_be_had_is_refused() -> None:
    teacher = Teacher(_teacher("running_stats").model, TeacherConfig(batch_norm="running_stats", precision="fp16"))
    with pytest.raises(ValueError, match=r"teacher\.precision=fp16: expected a GPU"):
        teacher(_frames())
    with pytest.raises(ValidationError, match="expected auto for a joint teacher"):
        TeacherConfig(update="joint", batch_norm="batch_stats", precision="bf16")


def test_a_teacher_stays_in_its_precision() -> None:
    teacher = _teacher("running_stats")
    with torch.autocast("cpu", torch.bfloat16):
        teacher(_frames())
    with torch.autocast("cpu", torch.float16), pytest.raises(ValueError, match="stays in torch.bfloat16"):
        teacher(_frames())
