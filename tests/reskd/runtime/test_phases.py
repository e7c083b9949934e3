from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reskd.runtime.phases import PHASES, PhaseClock
from reskd.training.trainer import Trainer
from tests.reskd.training.tiny import make_trainer


def _step_with_clock(trainer: Trainer, num_steps: int) -> dict[str, float]:
    with PhaseClock(trainer) as clock:
        batches = clock.waiting(iter(trainer.make_loader(0)))
        for _ in range(num_steps):
            trainer.train_step(batches)
        clock.stop()
        return clock.pop()


@pytest.mark.parametrize("settings", [{}, {"joint": True}, {"alpha": None}, {"max_clips_per_pass": 4}])
def test_every_phase_that_a_step_has_takes_time(settings: dict[str, object], tmp_path: Path) -> None:
    found = _step_with_clock(make_trainer(tmp_path, **settings), 2)  # type: ignore[arg-type]
    has_frozen_teacher = "joint" not in settings and "alpha" not in settings
    assert list(found) == list(PHASES)
    assert {name for name, ms in found.items() if ms} == set(PHASES) - (set() if has_frozen_teacher else {"teacher"})


def test_the_clock_changes_nothing_and_leaves_no_hook(tmp_path: Path) -> None:
    timed, plain = make_trainer(tmp_path / "a"), make_trainer(tmp_path / "b")
    _step_with_clock(timed, 3)
    batches = iter(plain.make_loader(0))
    for _ in range(3):
        plain.train_step(batches)
    for name, value in plain.trainable.state_dict().items():
        assert torch.equal(value, timed.trainable.state_dict()[name])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in timed.trainable.modules())
    assert timed.teacher is not None and not timed.teacher._forward_pre_hooks


def test_the_end_of_the_batches_is_passed_on(tmp_path: Path) -> None:
    with PhaseClock(make_trainer(tmp_path)) as clock:
        assert list(clock.waiting(iter([1, 2]))) == [1, 2]
        assert clock.pop()["data"] > 0


def test_phases_are_ranges_of_the_profiler(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    with torch.profiler.profile() as profiler, PhaseClock(trainer, ranges=True) as clock:
        trainer.train_step(clock.waiting(iter(trainer.make_loader(0))))
    counts = {event.key: event.count for event in profiler.key_averages()}
    assert {name: counts.get(name) for name in PHASES} == dict.fromkeys(PHASES, 1)
