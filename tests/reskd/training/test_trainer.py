from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from dali_pipes.batch import ClipBatch, Loader
from reskd.choices import TaskName
from reskd.training.checkpoint import load_checkpoint
from reskd.training.plan import Plan, TrainingConfig
from reskd.training.trainer import Trainer
from tests.reskd.training.tiny import GLOBAL_BATCH, losses, make_trainer, quarantined


def read_lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


class ScoreByStep:
    """A validation whose score peaks in the middle of the run."""

    def __init__(self, scores: list[float], metric: str = "top1") -> None:
        self.scores, self.metric, self.closed = iter(scores), metric, False

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        return {self.metric: next(self.scores)}

    def close(self) -> None:
        self.closed = True


def test_the_loss_falls(tmp_path: Path) -> None:
    make_trainer(tmp_path, epochs=20).fit()
    task = [line["loss/task"] for line in read_lines(tmp_path)]
    assert sum(task[-5:]) < 0.7 * sum(task[:5])


def test_a_resumed_run_equals_the_run_never_stopped_to_the_bit(tmp_path: Path) -> None:
    whole = make_trainer(tmp_path / "whole")
    whole.fit()
    first = make_trainer(tmp_path / "halves", checkpoint_every_steps=5)
    stop_after(first, 7)
    second = make_trainer(tmp_path / "halves", checkpoint_every_steps=5)
    second.load_state(load_checkpoint(tmp_path / "halves" / "last.pt"))
    assert second.num_steps == 6  # step 5 by number, step 6 as an epoch's end
    second.fit()
    assert losses(read_lines(tmp_path / "whole")) == losses(read_lines(tmp_path / "halves"))
    for name, value in whole.trainable.state_dict().items():
        assert torch.equal(value, second.trainable.state_dict()[name]), name


def test_after_a_resume_the_account_of_bad_clips_is_that_of_the_run_never_stopped(tmp_path: Path) -> None:
    make_trainer(tmp_path / "whole").fit()
    stop_after(make_trainer(tmp_path / "halves", checkpoint_every_steps=5), 8)
    assert quarantined(tmp_path / "halves") == list(range(0, 64, 5))  # two steps past the checkpoint
    second = make_trainer(tmp_path / "halves", checkpoint_every_steps=5)
    second.load_state(load_checkpoint(tmp_path / "halves" / "last.pt"))
    assert second.faults["num_served"] == 48 and second.faults["num_substituted"] == 10
    second.fit()
    assert quarantined(tmp_path / "halves") == quarantined(tmp_path / "whole") == list(range(0, 96, 5))
    whole, halves = (load_checkpoint(tmp_path / name / "last.pt")["faults"] for name in ("whole", "halves"))
    assert whole == halves and whole["num_served"] == 96 and sum(whole["files"].values()) == 20


def test_a_run_killed_before_its_first_checkpoint_lists_bad_clips_anew(tmp_path: Path) -> None:
    for _ in range(2):
        stop_after(make_trainer(tmp_path, checkpoint_every_steps=50), 2)
    assert quarantined(tmp_path) == [0, 5, 10, 15]


def test_a_checkpoint_without_an_account_of_bad_clips_begins_one(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    state = trainer.state()
    del state["faults"]
    trainer.load_state(state)
    assert trainer.faults["num_served"] == 0


def with_several_labels(trainer: Trainer, task: TaskName) -> Trainer:
    """The same trainer; each clip's next class is a label too."""

    class SeveralLabels:
        def __init__(self, loader: Loader) -> None:
            self.loader, self.num_samples, self.close = loader, loader.num_samples, loader.close
            self.faults = loader.faults

        def __iter__(self) -> Iterator[ClipBatch]:
            for batch in self.loader:
                sets_NK = torch.eye(3)[batch.labels_N] + torch.eye(3)[(batch.labels_N + 1) % 3]
                yield dataclasses.replace(batch, label_sets_NK=sets_NK.bool())

    make_loader = trainer.make_loader
    trainer.make_loader = lambda first: SeveralLabels(make_loader(first))
    trainer.trainable.loss.config = trainer.trainable.loss.config.model_copy(update={"task": task})
    return trainer


@pytest.mark.parametrize("task", ["sigmoid_bce", "random_label_ce"])
def test_a_resumed_run_with_several_labels_draws_the_same_labels(task: TaskName, tmp_path: Path) -> None:
    with_several_labels(make_trainer(tmp_path / "whole"), task).fit()
    stop_after(with_several_labels(make_trainer(tmp_path / "halves", checkpoint_every_steps=5), task), 7)
    second = with_several_labels(make_trainer(tmp_path / "halves", checkpoint_every_steps=5), task)
    second.load_state(load_checkpoint(tmp_path / "halves" / "last.pt"))
    second.fit()
    whole = read_lines(tmp_path / "whole")
    assert losses(whole) == losses(read_lines(tmp_path / "halves"))
    assert "train/top1" not in whole[0]


def stop_after(trainer: Any, num_steps: int) -> None:
    class PowerCutError(Exception):
        pass

    def cut(step: int, values: Mapping[str, float]) -> None:
        if step == num_steps:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        trainer.fit(cut)


def test_the_rehearsal_leaves_no_trace(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    before = {name: value.clone() for name, value in trainer.trainable.state_dict().items()}
    trainer._dry_run()
    for name, value in trainer.trainable.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in trainer.trainable.parameters())


def test_gradients_come_from_both_terms(tmp_path: Path) -> None:
    grads = {}
    for name, alpha in (("task", None), ("both", 1.0)):
        trainer = make_trainer(tmp_path / name, alpha=alpha, clip_norm=None)
        batch = next(iter(trainer.make_loader(0)))
        trainer._reseed()
        trainer._forward_backward(batch)
        student = trainer.trainable.student
        grads[name] = student.convolution.weight.grad.clone(), student.head.weight.grad.clone()
    assert not torch.equal(grads["task"][0], grads["both"][0])  # the pixel term reaches the backbone
    assert torch.equal(grads["task"][1], grads["both"][1])  # and not the head


def test_the_teacher_never_moves(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    before = {name: value.clone() for name, value in trainer.teacher.state_dict().items()}
    trainer.fit()
    assert all(torch.equal(value, before[name]) for name, value in trainer.teacher.state_dict().items())


def test_a_step_of_two_passes_covers_the_same_clips(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, max_clips_per_pass=GLOBAL_BATCH // 2)
    assert trainer.plan.passes_per_step == 2
    positions = []
    batches = iter(trainer.make_loader(0))

    def watched() -> Any:
        for batch in batches:
            positions.extend(batch.positions_N.tolist())
            yield batch

    trainer.train_step(watched())
    assert positions == list(range(GLOBAL_BATCH))


class RefuseHostSync(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert function is not torch.ops.aten._local_scalar_dense.default, "a step waited for the device"
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("task", [None, "sigmoid_bce", "random_label_ce"])
def test_a_step_never_waits_for_the_device(task: TaskName | None, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path) if task is None else with_several_labels(make_trainer(tmp_path), task)
    batches = iter(trainer.make_loader(0))
    trainer.train_step(batches)
    with RefuseHostSync():
        trainer.train_step(batches)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_low_precision_trains_and_saves_its_loss_scale(tmp_path: Path, precision: str) -> None:
    make_trainer(tmp_path, epochs=20, precision=precision).fit()
    task = [line["loss/task"] for line in read_lines(tmp_path)]
    assert sum(task[-5:]) < 0.8 * sum(task[:5])
    assert bool(load_checkpoint(tmp_path / "last.pt")["scaler"]) == (precision == "fp16")


def test_a_loss_that_is_not_finite_stops_the_run_and_says_so(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    with torch.no_grad():
        trainer.trainable.student.head.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=r"the loss is nan in step 1, the first .*Nothing .*optimizer\.lr"):
        trainer.fit()
    assert not (tmp_path / "last.pt").exists()


def test_best_is_the_highest_validation_score_and_last_the_last_step(tmp_path: Path) -> None:
    validation = ScoreByStep([0.2, 0.9, 0.5, 0.6])
    make_trainer(tmp_path, validations={"student": validation}).fit()
    assert load_checkpoint(tmp_path / "best.pt")["num_steps"] == 6
    assert load_checkpoint(tmp_path / "last.pt")["num_steps"] == 12
    assert load_checkpoint(tmp_path / "last.pt")["best"] == {"score": 0.9, "step": 6.0}
    assert validation.closed


def test_best_is_the_lowest_log_loss_also_after_a_resume(tmp_path: Path) -> None:
    first = make_trainer(
        tmp_path, validations={"student": ScoreByStep([0.8, 0.3], "log_loss")}, selection_metric="log_loss"
    )
    stop_after(first, 7)
    assert load_checkpoint(tmp_path / "best.pt")["best"] == {"score": 0.3, "step": 6.0}
    second = make_trainer(
        tmp_path, validations={"student": ScoreByStep([0.5, 0.2], "log_loss")}, selection_metric="log_loss"
    )
    second.load_state(load_checkpoint(tmp_path / "last.pt"))
    second.fit()
    assert load_checkpoint(tmp_path / "best.pt")["num_steps"] == 12
    assert load_checkpoint(tmp_path / "last.pt")["best"] == {"score": 0.2, "step": 12.0}


def test_every_nth_epoch_is_kept(tmp_path: Path) -> None:
    make_trainer(tmp_path, keep_every_epochs=2).fit()
    assert sorted(path.name for path in tmp_path.glob("epoch_*.pt")) == ["epoch_002.pt", "epoch_004.pt"]


@pytest.mark.parametrize(
    ("key", "value"), [("manifest_hash", "other"), ("teacher_hash", "x"), ("global_batch_size", 4)]
)
def test_a_checkpoint_of_other_data_or_teacher_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    trainer = make_trainer(tmp_path)
    with pytest.raises(ValueError, match=f"the checkpoint's {key} is .*expected the same"):
        trainer.load_state(trainer.state() | {key: value})


def test_a_batch_that_does_not_split_is_refused() -> None:
    config = TrainingConfig(epochs=1, global_batch_size=8)
    with pytest.raises(ValueError, match="expected a multiple of 3 processes"):
        Plan.make(config, num_clips=24, clips_per_pass=2, world_size=3)
    with pytest.raises(ValueError, match="more than the 4 training clips"):
        Plan.make(config, num_clips=4, clips_per_pass=8, world_size=1)


def test_tensorboard_gets_scalars_and_one_panel_of_both_views(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    make_trainer(tmp_path).fit()
    events = EventAccumulator(str(tmp_path)).Reload()
    wanted = {"loss/task", "loss/pixel", "train/lr", "train/top1", "train/top5", "speed/data_wait_share"}
    assert wanted <= set(events.Tags()["scalars"])
    assert len(events.Scalars("loss/task")) == 12
    assert set(events.Tags()["images"]) == {"view/teacher", "view/student", "clips/labels_and_answers"}
