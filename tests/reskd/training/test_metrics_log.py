from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from reskd.distributed import World
from reskd.training.metrics_log import MetricsWriter, RunningMeans

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
