"""Mixing, averaged weights and early stopping in a run: exact in resume, equal on all ranks, off by default."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from reskd.distributed import World
from reskd.losses.config import LossConfig, PixelLossConfig
from reskd.training.checkpoint import load_checkpoint
from reskd.training.trainer import Trainer
from tests.reskd.training.test_trainer import RefuseHostSync
from tests.reskd.training.tiny import SHAPES, losses, make_trainer

ALL = {
    "mixing": {"mixup_alpha": 0.8, "cutmix_alpha": 1.0, "probability": 0.9},
    "ema": {"decay": 0.9},
    "early_stopping": {"patience": 2},
    "checkpoint_every_steps": 5,
    "epochs": 8,
}
LOSS = LossConfig(pixel=PixelLossConfig(alpha=1.0), label_smoothing=0.1, class_weights=(1.0, 2.0, 0.5))
SCORES = (0.1, 0.5, 0.4, 0.6, 0.6, 0.5, 0.9, 0.9)  # of the epochs; the sixth is the second without an improvement


class PowerCutError(Exception):
    pass


class ByEpoch:
    """A validation whose score follows from the trainer's epoch; it remembers which weights it was given."""

    def __init__(self) -> None:
        self.trainer: Trainer | None = None
        self.weights: list[torch.Tensor] = []

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        assert self.trainer is not None
        self.weights.append(next(model.parameters()).detach().clone())
        return {"top1": SCORES[self.trainer.plan.epochs_after(self.trainer.num_steps) - 1]}

    def close(self) -> None:
        pass


def trainer_with_all(folder: Path, *, world: World | None = None, **settings: Any) -> Trainer:
    validation = ByEpoch()
    trainer = make_trainer(folder, world=world, loss=LOSS, validations={"student": validation}, **(ALL | settings))
    trainer.trainable.loss.class_weights_K = torch.tensor(LOSS.class_weights)
    validation.trainer = trainer
    return trainer


def lines_of(folder: Path) -> list[tuple[float, ...]]:
    return losses([json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()])


def run_cut_and_resumed(folder: Path, stop_at: int, *, world: World | None = None, **settings: Any) -> Trainer:
    """Cut after the step ``stop_at``; goes on from the last checkpoint before."""

    def cut(step: int, values: Mapping[str, float]) -> None:
        if step == stop_at:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        trainer_with_all(folder, world=world, **settings).fit(cut)
    second = trainer_with_all(folder, world=world, **settings)
    second.load_state(load_checkpoint(folder / "last.pt"))
    second.fit()
    return second


def assert_same_states(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    assert one["num_steps"] == other["num_steps"] and one["early_stopping"] == other["early_stopping"]
    for part in ("student", "student_in_training", "loss"):
        for name, value in one[part].items():
            assert torch.equal(value, other[part][name]), (part, name)


@pytest.mark.parametrize("stop_at", [4, 7, 12, 14, 17])
def test_a_resumed_run_with_all_recipes_equals_the_run_never_stopped_to_the_bit(tmp_path: Path, stop_at: int) -> None:
    """Steps 3 an epoch: checkpoints at the epochs' ends and every 5 steps; it ends at step 18 of 24."""
    trainer_with_all(tmp_path / "whole").fit()
    run_cut_and_resumed(tmp_path / "halves", stop_at)
    assert lines_of(tmp_path / "whole") == lines_of(tmp_path / "halves")
    states = [load_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "halves")]
    assert states[0]["num_steps"] == 18 and states[0]["best"] == {"score": 0.6, "step": 12.0}
    assert_same_states(*states)


def train_on_a_rank(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/join", rank=rank, world_size=2)
    world = World(rank, 2, torch.device("cpu"))
    whole = trainer_with_all(folder / "whole", world=world, max_clips_per_pass=2)
    whole.fit()
    halves = run_cut_and_resumed(folder / "halves", 7, world=world, max_clips_per_pass=2)
    assert whole.num_steps == halves.num_steps == 18
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_with_all_recipes_stop_together_and_resume_to_the_bit(tmp_path: Path) -> None:
    mp.spawn(train_on_a_rank, args=(tmp_path,), nprocs=2)
    assert lines_of(tmp_path / "whole") == lines_of(tmp_path / "halves")
    assert_same_states(*(load_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "halves")))


def test_a_step_sees_the_same_mixed_clips_however_it_is_split(tmp_path: Path) -> None:
    """Without batch norm and dropout, the updated weights are the same."""
    updated = []
    for size in (8, 4, 2):
        trainer = trainer_with_all(tmp_path / str(size), max_clips_per_pass=size)
        trainer.trainable.student.norm = nn.Identity()
        trainer.trainable.student.dropout = nn.Identity()
        trainer.train_step(iter(trainer.make_loader(0)))
        updated.append(list(trainer.trainable.parameters()))
    for other in updated[1:]:
        torch.testing.assert_close(other, updated[0], rtol=1e-4, atol=1e-6)


def test_teacher_and_student_see_the_same_mix(tmp_path: Path) -> None:
    trainer = trainer_with_all(tmp_path)
    batch = trainer.train_step(iter(trainer.make_loader(0)))
    plain = next(iter(trainer.make_loader(0)))
    changed = {}
    for name in SHAPES:
        is_same = (batch.views[name].data == plain.views[name].data).flatten(1).float().mean(1)
        changed[name] = is_same < 0.99
    assert torch.equal(changed["teacher"], changed["student"]) and changed["teacher"].any()


def test_the_average_is_what_is_scored_saved_and_read_as_the_student(tmp_path: Path) -> None:
    trainer = trainer_with_all(tmp_path)
    trainer.fit()
    validation = trainer.validations["student"]
    assert isinstance(validation, ByEpoch)
    state = load_checkpoint(tmp_path / "last.pt")
    name = next(iter(dict(trainer.trainable.student.named_parameters())))
    assert torch.equal(validation.weights[-1], state["student"][name])
    assert not torch.equal(state["student"][name], state["student_in_training"][name])
    assert torch.equal(state["student_in_training"][name], dict(trainer.trainable.student.named_parameters())[name])


def test_a_run_that_ends_early_says_so_and_has_no_step_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        trainer_with_all(tmp_path).fit()
    assert "the run ends at step 18 of 24: 2 validations in a row without an improvement" in caplog.text
    again = trainer_with_all(tmp_path)
    again.load_state(load_checkpoint(tmp_path / "last.pt"))
    again.fit()
    assert again.num_steps == 18
    patient = trainer_with_all(tmp_path, early_stopping={"patience": 3})  # as --set gives it
    patient.load_state(load_checkpoint(tmp_path / "last.pt"))
    patient.fit()
    assert patient.num_steps == 24


def test_a_step_with_all_recipes_never_waits_for_the_device(tmp_path: Path) -> None:
    trainer = trainer_with_all(tmp_path)
    batches = iter(trainer.make_loader(0))
    trainer.train_step(batches)
    with RefuseHostSync():
        trainer.train_step(batches)


def test_recipes_that_are_off_leave_no_trace(tmp_path: Path) -> None:
    plain = make_trainer(tmp_path)
    state = plain.state()
    assert not {"early_stopping", "student_in_training"} & state.keys() and plain.average is None
    batch = plain.train_step(iter(plain.make_loader(0)))
    assert torch.equal(batch.views["student"].data, next(iter(plain.make_loader(0))).views["student"].data)


@pytest.mark.parametrize("settings", [{"global_batch_size": 7}, {"global_batch_size": 1}, {"max_clips_per_pass": 1}])
def test_a_step_or_pass_that_holds_no_pairs_is_refused(tmp_path: Path, settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"mixing mixes the clips of a \w+ in pairs, and .* = \d; expected"):
        trainer_with_all(tmp_path, **settings)
