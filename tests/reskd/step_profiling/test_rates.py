from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dali_pipes.batch import ClipBatch
from reskd.step_profiling.rates import Loop, Rates, measure_rates
from tests.reskd.training.tiny import make_trainer


def test_the_loops_take_turns_and_a_slow_loader_is_seen(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, max_clips_per_pass=4)
    rounds: list[int] = []

    def slow() -> Iterator[ClipBatch]:
        for batch in trainer.make_loader(0):
            time.sleep(0.2)
            yield batch  # type: ignore[misc]

    found = measure_rates(trainer, slow(), steps=2, rounds=3, used_up=1, on_round=rounds.append)
    assert list(found.loops) == ["bare", "synthetic", "real"] and rounds == [1, 2, 3]
    assert all(len(loop.seconds) == len(loop.phases_ms) == 3 for loop in found.loops.values())
    assert found.clips_per_step == 8 and found.loops["real"].median_s > 0.4
    assert found.loops["real"].wait_share > 0.5 > found.loops["synthetic"].wait_share
    assert found.loops["real"].phase_ms("data") > 390


def test_without_data_two_loops_run(tmp_path: Path) -> None:
    assert list(measure_rates(make_trainer(tmp_path), None, steps=1, rounds=2, used_up=1).loops) == [
        "bare",
        "synthetic",
    ]


def test_ratios_are_taken_round_by_round() -> None:
    """A machine that slows down by ten in the last round changes no ratio."""
    bare = Loop([1.0, 1.0, 10.0], [2.0, 2.0, 20.0])
    synthetic = Loop([1.1, 1.1, 11.0], [2.2, 2.2, 22.0])
    real = Loop([2.2, 2.2, 22.0], [2.2, 2.2, 22.0])
    loops = {"bare": bare, "synthetic": synthetic, "real": real}
    rates = Rates(loops, 16, on_gpu=False)
    synthetic.seconds = [1.3, 1.3, 13.0]
    assert rates.overhead == pytest.approx(0.1) and Rates(loops, 16, on_gpu=True).overhead == pytest.approx(0.3)
    synthetic.seconds = [1.1, 1.1, 11.0]
    assert rates.lost_to_data == pytest.approx(0.5)
    assert rates.clips_per_second("bare") == 16
