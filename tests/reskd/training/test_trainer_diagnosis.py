"""``training.diagnose_every_steps``: what is logged, and that the run is the same with and without it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from reskd.distributed import World
from reskd.losses.config import LossConfig
from reskd.training.checkpoint import load_checkpoint
from reskd.training.trainer import Trainer
from tests.reskd.training.test_trainer import RefuseHostSync, read_lines, stop_after
from tests.reskd.training.tiny import losses, make_trainer

TERMS = ("task", "pixel", "embedding", "prediction")
_DIAGNOSED = ("grad_norm/", "grad_cosine/", "feature_map/")


def diagnosed(folder: Path, every: int | None, **settings: Any) -> Trainer:
    loss = LossConfig.model_validate({"pixel": {"alpha": 2}, "embedding": {"alpha": 1}, "prediction": {"alpha": 0}})
    return make_trainer(folder, loss=loss, diagnose_every_steps=every, **settings)


def parted(line: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """(a line without the diagnosis, the diagnosis)."""
    found = {name: value for name, value in line.items() if name.startswith(_DIAGNOSED)}
    return {name: value for name, value in line.items() if name not in found}, found


def assert_same(one: Any, other: Any, where: str = "") -> None:
    """Equality to the bit of two states of a trainer."""
    if isinstance(one, Mapping):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"joint": True, "head": "shared"},
        {"max_clips_per_pass": 4},
        {"precision": "fp16", "max_clips_per_pass": 4},
        {"precision": "bf16", "joint": True},
    ],
    ids=str,
)
def test_a_run_with_diagnoses_equals_the_run_without_to_the_bit(settings: dict[str, Any], tmp_path: Path) -> None:
    plain, with_them = diagnosed(tmp_path / "plain", None, **settings), diagnosed(tmp_path / "with", 1, **settings)
    plain.fit()
    random_state = torch.get_rng_state()
    with_them.fit()
    assert torch.equal(torch.get_rng_state(), random_state)
    assert_same(with_them.state(), plain.state())
    assert losses([parted(line)[0] for line in read_lines(tmp_path / "with")]) == losses(read_lines(tmp_path / "plain"))


@pytest.mark.parametrize("every", [1, 3])
def test_diagnosed_steps_are_logged_by_name(every: int, tmp_path: Path) -> None:
    diagnosed(tmp_path, every).fit()
    expected = {f"grad_norm/{name}" for name in TERMS} | {f"grad_cosine/{name}" for name in TERMS[1:]}
    expected |= {f"feature_map/{name}" for name in ("student_mean_square", "teacher_mean_square", "cosine")}
    for line in read_lines(tmp_path):
        found = parted(line)[1]
        assert set(found) == (expected if line["step"] % every == 0 else set())
        assert all(math.isfinite(value) for value in found.values())
        if found:
            assert found["grad_norm/prediction"] == found["grad_cosine/prediction"] == 0  # its weight is 0
            assert found["grad_norm/task"] > 0 and -1 <= found["grad_cosine/pixel"] <= 1


def without_noise(trainer: Trainer) -> Trainer:
    """The same trainer without dropout, and with fixed statistics: clips do not depend on their batch."""
    for module in trainer.trainable.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.BatchNorm2d):
            module.train = lambda mode=True, module=module: module  # type: ignore[method-assign]
            module.training = False
    return trainer


def first_diagnosis(folder: Path) -> dict[str, float]:
    return parted(read_lines(folder)[0])[1]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_passes_and_precision_give_the_values_of_one_pass_in_fp32(precision: str, tmp_path: Path) -> None:
    without_noise(diagnosed(tmp_path / "one", 1, epochs=1)).fit()
    without_noise(diagnosed(tmp_path / "two", 1, epochs=1, max_clips_per_pass=2, precision=precision)).fit()
    tolerance = 1e-4 if precision == "fp32" else 0.02
    expected = pytest.approx(first_diagnosis(tmp_path / "one"), rel=tolerance, abs=tolerance / 10)
    assert first_diagnosis(tmp_path / "two") == expected


def test_several_diagnosed_steps_of_a_line_are_a_root_mean_square(tmp_path: Path) -> None:
    diagnosed(tmp_path / "each", 1, epochs=1).fit()
    diagnosed(tmp_path / "line", 1, epochs=1, log_every_steps=3).fit()
    each = [parted(line)[1] for line in read_lines(tmp_path / "each")]
    found = first_diagnosis(tmp_path / "line")
    assert len(each) == 3
    squares = [line["grad_norm/pixel"] ** 2 for line in each]
    assert found["grad_norm/pixel"] == pytest.approx(math.sqrt(sum(squares) / 3), rel=1e-5)
    means = [line["feature_map/cosine"] for line in each]
    assert found["feature_map/cosine"] == pytest.approx(sum(means) / 3, rel=1e-5)


def test_a_diagnosed_step_never_waits_for_the_device(tmp_path: Path) -> None:
    trainer = diagnosed(tmp_path, 1)
    batches = iter(trainer.make_loader(0))
    trainer.train_step(batches)
    with RefuseHostSync():
        trainer.train_step(batches)


def test_a_resumed_run_logs_the_diagnoses_of_the_run_never_stopped(tmp_path: Path) -> None:
    diagnosed(tmp_path / "whole", 2, checkpoint_every_steps=5).fit()
    stop_after(diagnosed(tmp_path / "halves", 2, checkpoint_every_steps=5), 7)
    second = diagnosed(tmp_path / "halves", 2, checkpoint_every_steps=5)
    second.load_state(load_checkpoint(tmp_path / "halves" / "last.pt"))
    second.fit()
    assert losses(read_lines(tmp_path / "halves")) == losses(read_lines(tmp_path / "whole"))


def train_on_ranks(rank: int, size: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/join", rank=rank, world_size=size)
    world = World(rank, size, torch.device("cpu"))
    for joint in (False, True):
        trainers = [
            diagnosed(folder / f"{every}-{joint}", every, world=world, joint=joint, max_clips_per_pass=2)
            for every in (None, 1)
        ]
        for trainer in trainers:
            trainer.fit()
        assert_same(trainers[1].state(), trainers[0].state())
    without_noise(diagnosed(folder / "ranks", 1, world=world, epochs=1)).fit()
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_log_the_values_of_one_and_train_as_without_to_the_bit(tmp_path: Path) -> None:
    mp.spawn(train_on_ranks, args=(2, tmp_path), nprocs=2)
    without_noise(diagnosed(tmp_path / "alone", 1, epochs=1)).fit()
    assert first_diagnosis(tmp_path / "ranks") == pytest.approx(first_diagnosis(tmp_path / "alone"), rel=1e-4, abs=1e-5)
