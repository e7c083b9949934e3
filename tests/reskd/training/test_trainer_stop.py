"""A run that is asked to stop saves its step, and goes on to the bit."""

from __future__ import annotations

import signal
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
import torch

from reskd.distributed import World
from reskd.stop_signals import Stopped, StopSignals
from reskd.training.checkpoint import load_checkpoint
from reskd.training.trainer import Trainer
from tests.reskd.training.test_trainer import read_lines
from tests.reskd.training.tiny import losses, make_trainer, quarantined


class AskedAfter(StopSignals):
    """Asks to stop when it was polled this often."""

    def __init__(self, num_polls: int) -> None:
        super().__init__()
        self.num_left = num_polls

    def asked(self) -> int:
        self.num_left -= 1
        return signal.SIGTERM if self.num_left <= 0 else 0

    def deferred(self) -> AbstractContextManager[None]:
        return nullcontext()


def trainer(folder: Path, *, stop_after: int | None = None) -> Trainer:
    signals = StopSignals() if stop_after is None else AskedAfter(stop_after)
    world = World(0, 1, torch.device("cpu"), signals)
    return make_trainer(folder, world=world, log_every_steps=4, checkpoint_every_steps=50, max_clips_per_pass=4)


@pytest.mark.parametrize("stop_after", [1, 2, 5, 6, 8, 11, 12])
def test_a_stopped_run_saves_its_step_and_goes_on_to_the_bit(stop_after: int, tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole")
    whole.fit()
    with pytest.raises(Stopped, match=f"stopped by SIGTERM; step {stop_after} is saved; run the same command") as stop:
        trainer(tmp_path / "halves", stop_after=stop_after).fit()
    assert stop.value.signum == signal.SIGTERM
    second = trainer(tmp_path / "halves")
    second.load_state(load_checkpoint(tmp_path / "halves" / "last.pt"))
    assert second.num_steps == stop_after
    second.fit()
    assert losses(read_lines(tmp_path / "halves")) == losses(read_lines(tmp_path / "whole"))
    assert quarantined(tmp_path / "halves") == quarantined(tmp_path / "whole")
    one, other = (load_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "halves"))
    assert all(torch.equal(one["student"][name], other["student"][name]) for name in one["student"])
    assert {key: one[key] for key in ("best", "faults", "lowest_losses", "unlogged_means")} == {
        key: other[key] for key in ("best", "faults", "lowest_losses", "unlogged_means")
    }


def test_a_stop_at_a_bad_step_saves_nothing(tmp_path: Path) -> None:
    stopped = trainer(tmp_path, stop_after=3)
    stopped.trainable.student.head.weight.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(FloatingPointError, match="is nan in step 1"):
        stopped.fit()
    assert not (tmp_path / "last.pt").exists()
