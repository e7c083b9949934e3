"""Nothing that is not finite or exploding replaces a good checkpoint."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from reskd.distributed import World
from reskd.training.checkpoint import load_checkpoint
from reskd.training.divergence import Guard, Watch, largest_magnitude, names_of_bad
from reskd.training.run_directory import RunDirectory
from reskd.training.trainer import Trainer
from tests.reskd.training.test_trainer import read_lines
from tests.reskd.training.tiny import make_trainer

WORLD = World(0, 1, torch.device("cpu"))


def spoil_at(trainer: Trainer, step: int, spoil: Callable[[Trainer], None]) -> str:
    """Train, and call ``spoil`` after a step; returns the error's sentence."""

    def after(number: int, values: Mapping[str, float]) -> None:
        if number == step:
            spoil(trainer)

    with pytest.raises(FloatingPointError) as raised:
        trainer.fit(after)
    return str(raised.value)


def set_lr(lr: float) -> Callable[[Trainer], None]:
    def spoil(trainer: Trainer) -> None:
        trainer.peak_lr = lr / max(trainer._lr() / trainer.peak_lr, 1e-9)

    return spoil


def all_finite(path: Path) -> bool:
    state = load_checkpoint(path)
    return math.isfinite(float(largest_magnitude(state)))


@pytest.mark.parametrize("lr", [1e4, 1e8, 1e12])
@pytest.mark.parametrize("clip_norm", [None, 5.0])
@pytest.mark.parametrize("step", [6, 11])
def test_a_learning_rate_that_blows_up_leaves_the_last_good_checkpoint(
    step: int, clip_norm: float | None, lr: float, tmp_path: Path
) -> None:
    trainer = make_trainer(tmp_path, clip_norm=clip_norm, checkpoint_every_steps=1)
    message = spoil_at(trainer, step, set_lr(lr))
    assert f"step {step + 1}" in message and "--resume last and --set optimizer.lr=" in message
    assert load_checkpoint(tmp_path / "last.pt")["num_steps"] == step and all_finite(tmp_path / "last.pt")
    assert read_lines(tmp_path)[-1]["step"] == step
    again = make_trainer(tmp_path, clip_norm=clip_norm)
    again.load_state(load_checkpoint(tmp_path / "last.pt"))
    again.fit()


def spoil_batch_norm(trainer: Trainer) -> None:
    trainer.trainable.student.norm.running_var[0] = math.inf


def spoil_weights(trainer: Trainer) -> None:
    with torch.no_grad():
        trainer.trainable.student.middle[2].bias[0] = math.nan


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            spoil_batch_norm,
            r"student\.norm\.running_var of rank 0 after step 12, which would be saved, holds",
        ),
        (spoil_weights, "the loss is nan in step 12"),
    ],
)
def test_what_is_not_finite_is_named_and_not_saved(
    spoil: Callable[[Trainer], None], message: str, tmp_path: Path
) -> None:
    trainer = make_trainer(tmp_path, checkpoint_every_steps=1, keep_every_epochs=1)
    found = spoil_at(trainer, 11, spoil)
    assert re.search(message, found), found
    assert load_checkpoint(tmp_path / "last.pt")["num_steps"] == 11
    assert all(all_finite(path) for path in tmp_path.glob("*.pt"))
    assert not (tmp_path / "epoch_004.pt").exists()


def test_the_first_bad_step_is_named_when_the_log_is_written_later(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, log_every_steps=5, checkpoint_every_steps=50, epochs=10)
    weight = trainer.trainable.student.head.weight

    def spoil(module: torch.nn.Module, inputs: object) -> None:
        if trainer.num_steps == 6 and torch.is_grad_enabled():
            weight.data[0] = math.inf

    trainer.trainable.student.register_forward_pre_hook(spoil)
    with pytest.raises(FloatingPointError, match="the loss is (nan|inf) in step 7"):
        trainer.fit()


@pytest.mark.parametrize("clip_norm", [None, 20.0])
def test_no_update_is_made_of_gradients_that_are_not_finite(clip_norm: float | None, tmp_path: Path) -> None:
    """The log, at which the run stops, is written three steps later."""
    trainer = make_trainer(tmp_path, clip_norm=clip_norm, log_every_steps=5, checkpoint_every_steps=50, epochs=10)
    trainer.trainable.student.head.weight.register_hook(
        lambda gradient: gradient * math.nan if trainer.num_steps == 6 else gradient
    )
    with pytest.raises(FloatingPointError, match="the norm of the student's gradients is nan in step 7"):
        trainer.fit()
    assert all(value.isfinite().all() for value in trainer.trainable.parameters())


def test_a_bad_gradient_is_found_though_the_loss_is_finite(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, clip_norm=None, checkpoint_every_steps=1)

    def spoil(trainer: Trainer) -> None:
        trainer.trainable.student.head.weight.register_hook(lambda gradient: gradient * math.inf)

    message = spoil_at(trainer, 4, spoil)
    assert "the norm of the student's gradients is inf in step 5" in message
    assert load_checkpoint(tmp_path / "last.pt")["num_steps"] == 4


def _diverge(rank: int, folder: Path) -> None:
    """Rank 1 alone gets a loss, and in another run a gradient, that is not finite in step 7."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/join", rank=rank, world_size=2)
    world = World(rank, 2, torch.device("cpu"))
    for name, message in EXPECTED_OF_TWO.items():
        trainer = make_trainer(folder / name, world=world, checkpoint_every_steps=5, log_every_steps=4)
        head = trainer.trainable.student.head

        def spoil(value: torch.Tensor, trainer: Trainer = trainer, name: str = name) -> torch.Tensor:
            is_training = torch.is_grad_enabled() or name == "gradient"
            return value * math.nan if trainer.num_steps == 6 and is_training else value

        if rank == 1 and name == "loss":
            head.register_forward_pre_hook(lambda module, inputs, spoil=spoil: tuple(map(spoil, inputs)))
        if rank == 1 and name == "gradient":
            head.weight.register_hook(spoil)
        with pytest.raises(FloatingPointError, match=message):
            trainer.fit()
        assert load_checkpoint(folder / name / "last.pt")["num_steps"] == 6  # an epoch's end
    dist.destroy_process_group()


EXPECTED_OF_TWO = {
    "loss": "the loss of rank 1 is nan in step 7",
    "gradient": "the norm of the student's gradients is nan in step 7",
}


@pytest.mark.slow
def test_of_two_ranks_both_stop_and_name_the_one_whose_loss_is_not_finite(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_diverge, args=(tmp_path,), nprocs=2)
    assert all(all_finite(tmp_path / name / "last.pt") for name in EXPECTED_OF_TWO)


def test_fp16_skips_overflowing_steps_but_not_all(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, precision="fp16", checkpoint_every_steps=1)
    trainer.precision.scaler.load_state_dict(trainer.precision.scaler.state_dict() | {"scale": 2.0**24})
    trainer.fit()  # the first steps overflow, which is normal
    guard = Guard(RunDirectory(tmp_path), WORLD)
    with pytest.raises(FloatingPointError, match=r"the loss scale of fp16 is 1.53e-06 .*overflow in every step"):
        guard.check_means(3, {}, loss_scale=1.53e-6)


def test_a_validation_with_scores_that_are_not_finite_writes_no_best(tmp_path: Path) -> None:
    class Refusing:
        def __call__(self, model: torch.nn.Module) -> Mapping[str, float]:
            raise FloatingPointError("the student's scores of 3 clips are not finite")

        def close(self) -> None:
            pass

    with pytest.raises(FloatingPointError, match="scores of 3 clips"):
        make_trainer(tmp_path, validations={"student": Refusing()}).fit()
    assert list(tmp_path.glob("*.pt")) == []


def test_a_loss_that_grows_is_warned_of_and_one_that_explodes_stops(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    guard = Guard(RunDirectory(tmp_path), WORLD)
    with caplog.at_level(logging.WARNING):
        for step, value in enumerate((50000.0, 20.0, 1900.0), start=1):  # a large first loss is no explosion
            guard.check_means(step, {"loss/total": value}, loss_scale=1)
        assert caplog.messages == []
        guard.check_means(4, {"loss/total": 2100.0}, loss_scale=1)
        assert caplog.messages == ["the loss is 2.1e+03 by step 4, and was 20 at its lowest; the run may diverge."]
    with pytest.raises(FloatingPointError, match=r"the loss is 2.1e\+05 by step 5, and was 20 at its low.*Nothing"):
        guard.check_means(5, {"loss/total": 210000.0}, loss_scale=1)


def test_the_lowest_losses_are_part_of_a_checkpoint(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    trainer.fit()
    again = make_trainer(tmp_path)
    again.load_state(load_checkpoint(tmp_path / "last.pt"))
    assert again.guard.lowest == trainer.guard.lowest and set(again.guard.lowest) == {"loss/total", "loss/task"}


def test_the_first_bad_value_is_found_and_the_watch_starts_anew() -> None:
    watch = Watch()
    for step, value in ((1, 0.5), (2, -math.inf), (3, math.nan)):
        watch.add(step, "the loss", torch.tensor(value))
    bad = watch.first_bad(WORLD)
    assert bad is not None and (bad.name, bad.value, bad.step, bad.rank) == ("the loss", -math.inf, 2, 0)
    assert watch.first_bad(WORLD) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_magnitudes_see_every_element_of_nested_states(bad: float) -> None:
    spoiled = torch.ones(3, 5)
    spoiled[1, 4] = bad
    state = {"a": {"b": torch.ones(2), "n": torch.tensor(3)}, "o": {"state": {0: {"m": spoiled}}}, "s": "text"}
    assert not math.isfinite(float(largest_magnitude(state)))
    assert names_of_bad(state) == ["o.state.0.m"]
    assert float(largest_magnitude({"a": -7 * torch.ones(2), "e": torch.ones(0)})) == 7
    assert float(largest_magnitude({"text": "x"})) == 0
