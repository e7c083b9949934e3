"""Training a student whose teacher has other channels: by a projection, by the logit map, and by both."""

from __future__ import annotations

import faulthandler
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from reskd.losses.config import LossConfig
from reskd.losses.distillation import DistillationLoss, FeaturePair
from reskd.training.checkpoint import load_checkpoint
from reskd.training.trainable import Trainable, inputs_of
from reskd.training.trainer import Trainer
from tests.reskd.training.test_trainer import RefuseHostSync, read_lines, stop_after
from tests.reskd.training.tiny import MOMENTS, TinyRecognizer, TinyTeacher, losses, make_trainer, noise_clips

PROJECTION = LossConfig.model_validate({"pixel": {"alpha": 1, "projection": "linear"}})
LOGIT_MAP = LossConfig.model_validate({"logit_map": {"alpha": 2}})
BOTH = LossConfig.model_validate({"pixel": {"alpha": 1, "projection": "linear"}, "logit_map": {"alpha": 2}})
CONFIGS = pytest.mark.parametrize("loss", [PROJECTION, LOGIT_MAP, BOTH], ids=["projection", "logit_map", "both"])
TEACHER_WIDTH = 12


def _trainer(folder: Path, loss: LossConfig, **settings: Any) -> Trainer:
    return make_trainer(folder, loss=loss, teacher_width=TEACHER_WIDTH, **settings)


@CONFIGS
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_step_moves_student_and_projection_and_nothing_of_the_teacher(
    tmp_path: Path, loss: LossConfig, precision: str
) -> None:
    trainer = _trainer(tmp_path, loss, precision=precision)
    before = {name: value.clone() for name, value in trainer.trainable.named_parameters()}
    assert trainer.teacher is not None
    before_teacher = {name: value.clone() for name, value in trainer.teacher.state_dict().items()}
    trainer.fit()
    for name, value in trainer.trainable.named_parameters():
        assert not torch.equal(value, before[name]), name
    assert all(torch.equal(value, before_teacher[name]) for name, value in trainer.teacher.state_dict().items())
    assert all(value.grad is None for value in trainer.teacher.parameters())
    line = read_lines(tmp_path)[-1]
    expected = line["loss/task"] + line.get("loss/pixel", 0) + 2 * line.get("loss/logit_map", 0)
    assert line["loss/total"] == pytest.approx(expected, rel=1e-5)


@CONFIGS
def test_no_parameter_has_two_names_or_two_groups(tmp_path: Path, loss: LossConfig) -> None:
    trainer = _trainer(tmp_path, loss)
    student = {f"student.{name}" for name in TinyRecognizer().state_dict()}
    projection = {"loss.projection.linear.weight", "loss.projection.linear.bias"}
    assert set(trainer.trainable.state_dict()) == student | (projection if loss.pixel else set())
    optimized = [value.data_ptr() for group in trainer.learners[0].optimizer.param_groups for value in group["params"]]
    assert sorted(optimized) == sorted(value.data_ptr() for value in trainer.trainable.parameters())
    state = trainer.state()
    assert {f"student.{name}" for name in state["student"]} == student
    assert {f"loss.{name}" for name in state["loss"]} == (projection if loss.pixel else set())


def test_the_students_head_learns_from_the_logit_map(tmp_path: Path) -> None:
    gradients = []
    for number, loss in enumerate([LossConfig(), LOGIT_MAP]):
        trainer = _trainer(tmp_path / str(number), loss, clip_norm=None)
        trainer._reseed()
        trainer._forward_backward(next(iter(trainer.make_loader(0))))
        gradients.append([getattr(trainer.trainable.student, name).weight.grad for name in ("head", "convolution")])
    for without, with_it in zip(*gradients, strict=True):
        assert not torch.allclose(without, with_it)


def test_a_resumed_run_with_a_projection_equals_the_run_never_stopped_to_the_bit(tmp_path: Path) -> None:
    whole = _trainer(tmp_path / "whole", BOTH)
    whole.fit()
    stop_after(_trainer(tmp_path / "halves", BOTH, checkpoint_every_steps=5), 7)
    second = _trainer(tmp_path / "halves", BOTH, checkpoint_every_steps=5)
    second.load_state(load_checkpoint(tmp_path / "halves" / "last.pt"))
    second.fit()
    assert losses(read_lines(tmp_path / "whole")) == losses(read_lines(tmp_path / "halves"))
    for name, value in whole.trainable.state_dict().items():
        assert torch.equal(value, second.trainable.state_dict()[name]), name


def test_a_student_is_read_from_its_checkpoint_without_the_projection(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, PROJECTION)
    trainer.fit()
    alone = TinyRecognizer()
    alone.load_state_dict(load_checkpoint(tmp_path / "last.pt")["student"])
    frames = noise_clips(torch.arange(4)).views["student"].data_NTHWC
    expected = trainer.trainable.student.eval()(frames).logits_NK
    assert torch.equal(alone.eval()(frames).logits_NK, expected)


@CONFIGS
def test_a_step_never_waits_for_the_device(tmp_path: Path, loss: LossConfig) -> None:
    trainer = _trainer(tmp_path, loss)
    batches = iter(trainer.make_loader(0))
    trainer.train_step(batches)
    with RefuseHostSync():
        trainer.train_step(batches)


def _ddp_rank(rank: int, store: str) -> None:
    faulthandler.dump_traceback_later(200, exit=True)  # rather than wait for good
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    torch.manual_seed(rank)  # DDP takes rank 0's projection
    student, teacher = TinyRecognizer().eval(), TinyTeacher(TEACHER_WIDTH).eval().requires_grad_(False)
    student.gives_logit_map = teacher.gives_logit_map = True
    for value in teacher.parameters():
        dist.broadcast(value, src=0)
    trainable = Trainable(student, DistillationLoss(BOTH, FeaturePair(8, TEACHER_WIDTH, MOMENTS, MOMENTS)))
    parallel = DistributedDataParallel(trainable)
    clips, mine = noise_clips(torch.arange(8)), slice(4 * rank, 4 * rank + 4)
    inputs = inputs_of(clips)
    my_inputs = {name: (data[mine], valid_NT[mine]) for name, (data, valid_NT) in inputs.items()}
    parallel(my_inputs, clips.labels_N[mine], teacher(*my_inputs["teacher"]))[0].backward()
    averaged = {name: value.grad for name, value in trainable.named_parameters()}
    trainable.zero_grad(set_to_none=True)
    trainable(inputs, clips.labels_N, teacher(*inputs["teacher"]))[0].backward()
    for name, value in trainable.named_parameters():
        torch.testing.assert_close(averaged[name], value.grad, msg=lambda text, name=name: f"{name}: {text}")
    dist.destroy_process_group()
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.slow
def test_two_ranks_average_the_gradients_of_head_and_projection(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_ddp_rank, (str(tmp_path / "store"),), nprocs=2)
