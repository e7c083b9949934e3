"""Runs with ``alpha: auto``: what is logged and saved, resumed runs, passes and ranks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from reskd.distributed import World
from reskd.losses.config import LossConfig
from reskd.training.checkpoint import load_checkpoint
from reskd.training.trainer import Trainer
from tests.reskd.training.test_trainer import RefuseHostSync, read_lines, stop_after
from tests.reskd.training.test_trainer_diagnosis import assert_same, without_noise
from tests.reskd.training.tiny import losses, make_trainer

NAMES = ("loss/alpha_pixel", "loss/alpha_clip")


def balanced(folder: Path, *, auto_steps: int = 5, **settings: Any) -> Trainer:
    terms = {"pixel": {"alpha": "auto"}, "clip": {"alpha": "auto"}, "embedding": {"alpha": 0.1}}
    loss = LossConfig.model_validate({**terms, "auto_steps": auto_steps})
    return make_trainer(folder, loss=loss, **settings)


def logged(folder: Path, name: str = NAMES[0]) -> list[float]:
    return [line[name] for line in read_lines(folder)]


def test_the_weight_in_use_is_logged_and_stays_after_the_measured_steps(tmp_path: Path) -> None:
    balanced(tmp_path).fit()
    for name in NAMES:
        weights = logged(tmp_path, name)
        assert len(weights) == 12 and weights[0] == 0
        assert len(set(weights[:6])) == 6 and all(weight > 0 for weight in weights[1:])
        assert set(weights[6:]) == {weights[5]}
    line = read_lines(tmp_path)[6]
    terms = {name: line[f"loss/{name}"] for name in ("task", "pixel", "clip", "embedding")}
    weighted = terms["task"] + sum(line[f"loss/alpha_{name}"] * terms[name] for name in ("pixel", "clip"))
    assert line["loss/total"] == pytest.approx(weighted + 0.1 * terms["embedding"], rel=1e-5)


def test_the_weight_balances_the_norms_that_a_diagnosis_finds(tmp_path: Path) -> None:
    """Dropout and statistics are off, so the diagnosis of a first step has the gradients that were measured."""
    without_noise(balanced(tmp_path / "auto", diagnose_every_steps=1)).fit()
    plain = make_trainer(tmp_path / "plain", alpha=1.0, diagnose_every_steps=1, epochs=1)
    without_noise(plain).fit()
    first = read_lines(tmp_path / "plain")[0]
    assert logged(tmp_path / "auto")[1] == pytest.approx(first["grad_norm/task"] / first["grad_norm/pixel"], rel=1e-5)


def test_the_first_steps_balance_has_the_weight_found_in_it(tmp_path: Path) -> None:
    balanced(tmp_path).fit()
    written = {row["name"]: row for row in json.loads((tmp_path / "loss_balance.json").read_text())}
    assert written["pixel"]["weight"] == logged(tmp_path)[1]
    assert written["task"]["weight"] == 1


@pytest.mark.parametrize("stop", [3, 5, 8])
@pytest.mark.parametrize("settings", [{}, {"max_clips_per_pass": 4}, {"precision": "fp16"}], ids=str)
def test_a_resumed_run_equals_the_run_never_stopped_to_the_bit(
    stop: int, settings: dict[str, Any], tmp_path: Path
) -> None:
    whole = balanced(tmp_path / "whole", checkpoint_every_steps=stop, **settings)
    whole.fit()
    stop_after(balanced(tmp_path / "halves", checkpoint_every_steps=stop, **settings), stop)
    second = balanced(tmp_path / "halves", checkpoint_every_steps=stop, **settings)
    second.load_state(load_checkpoint(tmp_path / "halves" / "last.pt"))
    second.fit()
    assert_same(second.state(), whole.state())
    assert losses(read_lines(tmp_path / "halves")) == losses(read_lines(tmp_path / "whole"))


def test_a_dry_run_measures_and_leaves_no_trace(tmp_path: Path) -> None:
    trainer = balanced(tmp_path)
    trainer._dry_run()
    assert trainer.trainable.loss.auto is not None
    assert not trainer.trainable.loss.auto.squares.any() and not trainer.trainable.loss.auto.weights_M.any()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_passes_and_precision_give_the_weights_of_one_pass_in_fp32(precision: str, tmp_path: Path) -> None:
    without_noise(balanced(tmp_path / "one", epochs=1)).fit()
    without_noise(balanced(tmp_path / "two", epochs=1, max_clips_per_pass=2, precision=precision)).fit()
    tolerance = 1e-4 if precision == "fp32" else 0.02
    for name in NAMES:
        assert logged(tmp_path / "two", name) == pytest.approx(logged(tmp_path / "one", name), rel=tolerance)


def test_a_measured_step_never_waits_for_the_device(tmp_path: Path) -> None:
    trainer = balanced(tmp_path)
    batches = iter(trainer.make_loader(0))
    trainer.train_step(batches)
    with RefuseHostSync():
        trainer.train_step(batches)


def train_on_ranks(rank: int, size: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/join", rank=rank, world_size=size)
    world = World(rank, size, torch.device("cpu"))
    trainer = without_noise(balanced(folder / "ranks", world=world, max_clips_per_pass=2))
    trainer.fit()
    auto = trainer.trainable.loss.auto
    assert auto is not None
    torch.save([auto.squares, auto.weights_M], folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_find_the_weights_of_one_and_agree_to_the_bit(tmp_path: Path) -> None:
    mp.spawn(train_on_ranks, args=(2, tmp_path), nprocs=2)
    without_noise(balanced(tmp_path / "alone")).fit()
    for name in NAMES:
        assert logged(tmp_path / "ranks", name) == pytest.approx(logged(tmp_path / "alone", name), rel=1e-3)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
