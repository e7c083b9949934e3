from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from reskd.distributed import World
from reskd.runtime.phases import PHASES
from reskd.runtime.step_clock import StepClock
from tests.reskd.training.tiny import make_trainer


class Bare:
    """What has no phase but "data"."""

    def __init__(self, device: str) -> None:
        self.world, self.teacher = World(0, 1, torch.device(device)), None
        self.trainable, self.learners = torch.nn.Module(), []
        self.trainable.loss = torch.nn.Module()


def slowly(seconds: float) -> Iterator[int]:
    while True:
        time.sleep(seconds)
        yield 0


def test_waiting_is_the_time_in_next_and_nothing_else() -> None:
    with StepClock(Bare("cpu")) as clock:
        batches = clock.timed(slowly(0.03))
        for _ in range(3):
            next(batches)
            time.sleep(0.03)
            clock.end_step()
        found = clock.pop(num_clips=30)
    assert 0.3 < found["speed/data_wait_share"] < 0.7
    assert found["speed/data_ms"] >= 30
    assert found["speed/clips_per_second"] < 30 / 0.18


def test_on_a_gpu_the_time_between_events_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host waits 30 ms for each batch, in which the GPU computes; it waits 5 ms itself."""
    times_ms = iter([0.0, 5.0, 50.0, 55.0, 100.0, 105.0])

    class FakeEvent:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at_ms = next(times_ms)

        def query(self) -> bool:
            return True

        def elapsed_time(self, later: FakeEvent) -> float:
            return later.at_ms - self.at_ms

    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr("reskd.runtime.step_clock.device_load", lambda device: {"speed/gpu_busy": 0.5})
    started = time.perf_counter()
    with StepClock(Bare("cuda")) as clock:
        batches = clock.timed(slowly(0.03))
        for _ in range(3):
            next(batches)
            clock.end_step()
        found = clock.pop(num_clips=3)
    assert found["speed/data_ms"] == 5.0 and found["speed/gpu_busy"] == 0.5
    assert 0.015 / (time.perf_counter() - started) <= found["speed/data_wait_share"] <= 0.015 / 0.09


def test_a_run_logs_the_phases_of_its_steps(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, checkpoint_every_steps=3)
    logged: list[dict[str, float]] = []
    trainer.fit(lambda step, values: logged.append(dict(values)))
    assert len(logged) == 12
    for values in logged:
        phases_ms = [values[f"speed/{name}_ms"] for name in PHASES]
        assert min(phases_ms) > 0
        seconds = 8 / values["speed/clips_per_second"]
        assert sum(phases_ms) / 1e3 <= seconds
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in trainer.trainable.modules())


def test_what_a_checkpoint_takes_is_not_counted(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    with StepClock(trainer) as clock:
        batches = clock.timed(trainer.make_loader(0))
        trainer.train_step(batches)
        clock.end_step()
        time.sleep(0.3)
        clock.restart()
        trainer.train_step(batches)
        clock.end_step()
        found = clock.pop(num_clips=8)
    assert sum(found[f"speed/{name}_ms"] for name in PHASES) / 1e3 <= 8 / found["speed/clips_per_second"]
    assert found["speed/optimizer_ms"] < 250
