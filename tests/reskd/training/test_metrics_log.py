from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from reskd.distributed import World
from reskd.training.metrics_log import MetricsWriter, RunningMeans, WaitClock

ALONE = World(0, 1, torch.device("cpu"))


def test_means_are_over_updates_and_start_anew() -> None:
    means = RunningMeans()
    for value in (1.0, 2.0, 6.0):
        means.update({"a": torch.tensor(value), "b": torch.tensor(-value)})
    assert means.pop(ALONE) == ({"a": 3.0, "b": -3.0}, 3)
    means.update({"a": torch.tensor(5.0)})
    assert means.pop(ALONE) == ({"a": 5.0}, 1)


def test_a_name_missing_in_some_updates_has_the_mean_of_the_others_also_after_a_checkpoint() -> None:
    means = RunningMeans()
    for value in (1.0, 2.0, 6.0):
        means.update({"a": torch.tensor(value)} | ({"b": torch.tensor(value)} if value > 1 else {}))
    saved = means.saved(ALONE)
    assert means.pop(ALONE) == ({"a": 3.0, "b": 4.0}, 3)
    assert saved is not None
    assert RunningMeans.restored(saved, ALONE).pop(ALONE) == ({"a": 3.0, "b": 4.0}, 3)
    del saved["counts"]  # of earlier versions, where each update had all names
    assert RunningMeans.restored(saved, ALONE).pop(ALONE) == ({"a": 3.0, "b": 8 / 3}, 3)


def test_waiting_is_the_time_in_next_and_nothing_else() -> None:
    def slow() -> Iterator[int]:
        for number in range(3):
            time.sleep(0.03)
            yield number

    clock = WaitClock()
    for _ in clock.timed(slow()):
        time.sleep(0.03)
    seconds, share = clock.pop()
    assert seconds >= 0.18
    assert 0.3 < share < 0.7


def test_on_a_gpu_the_time_between_events_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host waits 30 ms for each batch, in which the GPU computes; it waits 5 ms itself."""
    times_ms = iter([0.0, 5.0, 50.0, 55.0, 100.0, 105.0])

    class FakeEvent:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at_ms = next(times_ms)

        def synchronize(self) -> None:
            assert self.at_ms == 105.0

        def elapsed_time(self, later: FakeEvent) -> float:
            return later.at_ms - self.at_ms

    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)

    def slow() -> Iterator[int]:
        while True:
            time.sleep(0.03)
            yield 0

    clock = WaitClock(torch.device("cuda"))
    batches = clock.timed(slow())
    for _ in range(3):
        next(batches)
    seconds, share = clock.pop()
    assert seconds >= 0.09 and share == pytest.approx(0.015 / seconds)


def test_a_resumed_run_drops_the_lines_it_will_write_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "a": 1.0}\n{"step": 2, "a": 2.0}\n{"step": 3, "a": 3.0}\n{"step": 4, "a"')
    with MetricsWriter(path, tmp_path / "tensorboard", first_step=2) as writer:
        writer.scalars(3, {"a": 3.5})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["step"], line["a"]) for line in lines] == [(1, 1.0), (2, 2.0), (3, 3.5)]


def test_a_resumed_run_says_how_many_lines_are_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "metrics.jsonl"
    whole = b'{"step": 1, "a": 1.0}\n'
    for damage, num in ((b"", 0), (b'{"step": 2, "a"', 0), (b'{"step": 2, "a\xff": 1.0}\n\0\0\n', 2)):
        path.write_bytes(whole + damage)
        caplog.clear()
        MetricsWriter(path, tmp_path / "tensorboard", first_step=2)
        assert path.read_bytes() == whole
        expected = [f"{path}: {num} of {num + 1} lines are damaged and left out"] if num else []
        assert caplog.messages == expected


def test_a_pipe_in_place_of_the_metrics_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises(ValueError, match=r"metrics.jsonl: expected the metrics of the run, found a pipe"):
        MetricsWriter(tmp_path / "metrics.jsonl", tmp_path / "tensorboard", first_step=2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_sums_do_not_lose_small_values(dtype: torch.dtype) -> None:
    means = RunningMeans()
    for _ in range(4096):
        means.update({"a": torch.tensor(1.0, dtype=dtype)})
    assert means.pop(ALONE)[0]["a"] == 1.0
