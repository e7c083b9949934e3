"""A teacher that is trained in the same step as its student, and classifiers that the two share."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reskd.losses.config import LossConfig
from reskd.losses.task import softmax_ce
from reskd.training.checkpoint import load_checkpoint
from reskd.training.trainer import Trainer
from tests.reskd.training.test_trainer import RefuseHostSync, read_lines, stop_after
from tests.reskd.training.tiny import TinyRecognizer, losses, make_trainer


def terms(alpha: float = 1.0) -> LossConfig:
    """All terms that two networks of one width can have."""
    return LossConfig.model_validate(
        {"pixel": {"alpha": alpha}, "embedding": {"alpha": alpha}, "prediction": {"alpha": alpha, "distance": "kl"}}
    )


def joint(folder: Path, alpha: float = 1.0, **settings: Any) -> Trainer:
    return make_trainer(folder, loss=terms(alpha), joint=True, **settings)


def without_dropout(trainer: Trainer) -> Trainer:
    for module in trainer.trainable.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return trainer


def one_pass(trainer: Trainer) -> dict[str, Tensor]:
    trainer._reseed()
    trainer.trainable.train()
    return trainer._forward_backward(next(iter(trainer.make_loader(0))))


def teacher_of(trainer: Trainer) -> TinyRecognizer:
    assert isinstance(trainer.trainable.teacher, TinyRecognizer)
    return trainer.trainable.teacher


def test_the_teachers_gradient_is_that_of_training_it_alone_to_the_bit(tmp_path: Path) -> None:
    trainer = without_dropout(joint(tmp_path, alpha=1000))
    alone = copy.deepcopy(teacher_of(trainer))
    one_pass(trainer)
    clips = next(iter(trainer.make_loader(0)))
    softmax_ce(alone(clips.views["teacher"].data).logits_NK, clips.labels_N).backward()
    for (name, mine), theirs in zip(teacher_of(trainer).named_parameters(), alone.parameters(), strict=True):
        assert mine.grad is not None and theirs.grad is not None
        assert torch.equal(mine.grad, theirs.grad) and mine.grad.any(), name


@pytest.mark.parametrize("settings", [{"clip_norm": 0.1}, {"max_clips_per_pass": 4}], ids=str)
def test_the_teachers_course_does_not_depend_on_what_the_student_makes_of_it(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    little, much = (joint(tmp_path / str(alpha), alpha=alpha, **settings) for alpha in (1, 100))
    little.fit()
    much.fit()
    for name, value in teacher_of(little).state_dict().items():
        assert torch.equal(value, teacher_of(much).state_dict()[name]), name
    assert not torch.equal(little.trainable.student.head.weight, much.trainable.student.head.weight)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_both_networks_move_in_low_precision(precision: str, tmp_path: Path) -> None:
    trainer = joint(tmp_path, epochs=2, precision=precision)
    before = {name: value.clone() for name, value in trainer.trainable.named_parameters()}
    trainer.fit()
    for name, value in trainer.trainable.named_parameters():
        assert value.isfinite().all() and not torch.equal(value, before[name]), name


def test_both_networks_learn_and_the_students_loss_is_told_apart(tmp_path: Path) -> None:
    trainer = joint(tmp_path, epochs=20)
    trainer.fit()
    lines = read_lines(tmp_path)
    for name, at_most in (("loss/task", 0.85), ("loss/teacher_task", 0.8)):
        values = [line[name] for line in lines]
        assert sum(values[-5:]) < at_most * sum(values[:5])
    last = lines[-1]
    summed = sum(last[f"loss/{name}"] for name in ("task", "pixel", "embedding", "prediction"))
    assert last["loss/total"] == pytest.approx(summed, rel=1e-5)


@pytest.mark.parametrize("head", ["own", "shared"])
def test_a_resumed_joint_run_equals_the_run_never_stopped_to_the_bit(head: Any, tmp_path: Path) -> None:
    whole = joint(tmp_path / "whole", head=head)
    whole.fit()
    stop_after(joint(tmp_path / "halves", head=head, checkpoint_every_steps=5), 7)
    second = joint(tmp_path / "halves", head=head, checkpoint_every_steps=5)
    second.load_state(load_checkpoint(tmp_path / "halves" / "last.pt"))
    second.fit()
    assert losses(read_lines(tmp_path / "whole")) == losses(read_lines(tmp_path / "halves"))
    for name, value in whole.trainable.state_dict().items():
        assert torch.equal(value, second.trainable.state_dict()[name]), name


def test_a_joint_step_never_waits_for_the_device(tmp_path: Path) -> None:
    trainer = joint(tmp_path)
    batches = iter(trainer.make_loader(0))
    trainer.train_step(batches)
    with RefuseHostSync():
        trainer.train_step(batches)


def test_the_rehearsal_leaves_no_trace_in_the_teacher(tmp_path: Path) -> None:
    trainer = joint(tmp_path)
    before = {name: value.clone() for name, value in trainer.trainable.state_dict().items()}
    trainer._dry_run()
    assert all(torch.equal(value, before[name]) for name, value in trainer.trainable.state_dict().items())
    assert all(parameter.grad is None for parameter in trainer.trainable.parameters())


def test_a_teacher_whose_loss_is_not_finite_stops_the_run_by_name(tmp_path: Path) -> None:
    trainer = joint(tmp_path)
    with torch.no_grad():
        teacher_of(trainer).head.bias.fill_(float("nan"))
    trainer.trainable.loss.config = LossConfig.model_validate(
        {"embedding": {"alpha": 1}}
    )  # which the head is no part of
    with pytest.raises(FloatingPointError, match="the teacher's task loss is nan in step 1"):
        trainer.fit()


def optimized(trainer: Trainer) -> list[set[int]]:
    """Addresses of the parameters of each optimizer."""
    return [
        {value.data_ptr() for group in learner.optimizer.param_groups for value in group["params"]}
        for learner in trainer.learners
    ]


def test_each_network_has_its_own_optimizer(tmp_path: Path) -> None:
    trainer = joint(tmp_path)
    mine, theirs = optimized(trainer)
    assert mine == {value.data_ptr() for value in trainer.trainable.student.parameters()}
    assert theirs == {value.data_ptr() for value in teacher_of(trainer).parameters()}
    assert {"teacher", "teacher_optimizer"} <= trainer.state().keys()
    assert not {"teacher", "teacher_optimizer"} & make_trainer(tmp_path / "frozen").state().keys()


def test_a_shared_head_is_optimized_once_and_learns_from_both_losses(tmp_path: Path) -> None:
    trainer = without_dropout(joint(tmp_path, head="shared", clip_norm=None))
    mine, theirs = optimized(trainer)
    head = trainer.trainable.student.head
    assert head is teacher_of(trainer).head
    assert head.weight.data_ptr() in mine and not mine & theirs
    both = copy.deepcopy(trainer.trainable)
    one_pass(trainer)
    clips = next(iter(trainer.make_loader(0)))
    seen, shown = (clips.views[name].data for name in ("student", "teacher"))
    assert both.teacher is not None
    answer = both.teacher.train()(shown)
    cut = answer._replace(**{name: value.detach() for name, value in answer._asdict().items() if value is not None})
    total = both.loss(both.student.train()(seen), clips.labels_N, cut).total
    (of_student,) = torch.autograd.grad(total, both.student.head.weight)
    (of_teacher,) = torch.autograd.grad(softmax_ce(answer.logits_NK, clips.labels_N), both.student.head.weight)
    torch.testing.assert_close(head.weight.grad, of_student + of_teacher)
    assert of_student.any() and of_teacher.any()


def test_with_a_shared_head_the_students_part_of_the_checkpoint_is_whole(tmp_path: Path) -> None:
    trainer = joint(tmp_path, head="shared")
    trainer.fit()
    state = load_checkpoint(tmp_path / "last.pt")
    assert torch.equal(state["student"]["head.weight"], state["teacher"]["head.weight"])
    alone = TinyRecognizer().eval()
    alone.load_state_dict(state["student"])
    frames = next(iter(trainer.make_loader(0))).views["student"].data
    assert torch.equal(alone(frames).logits_NK, trainer.trainable.student.eval()(frames).logits_NK)


def test_a_frozen_head_never_moves_and_the_rest_learns(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, loss=terms(), head="frozen")
    student = trainer.trainable.student
    before = {name: value.clone() for name, value in student.state_dict().items()}
    trainer.fit()
    same = {name for name, value in student.state_dict().items() if torch.equal(value, before[name])}
    assert same == {"head.weight", "head.bias"}
    trainer.trainable.train()
    assert not student.head.training and student.norm.training
