"""Resume with 2 and 4 processes: the run never stopped against the run stopped and gone on with."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from reskd.distributed import World
from reskd.training.checkpoint import load_checkpoint
from reskd.training.trainer import Trainer
from tests.reskd.training.tiny import losses, make_trainer, quarantined

STOP_AT = 5


class PowerCutError(Exception):
    pass


def train(rank: int, size: int, folder: Path) -> None:
    """With a frozen teacher, and by two with one that learns and shares its head. Each trainer has its own DDP."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/join", rank=rank, world_size=size)
    world = World(rank, size, torch.device("cpu"))
    train_twice(folder / "frozen", world)
    if size == 2:
        train_twice(folder / "joint", world, joint=True, head="shared")
        check_gradients(make_trainer(folder / "gradients", world=world, joint=True, head="shared", clip_norm=None))
    dist.destroy_process_group()


def train_twice(folder: Path, world: World, **settings: Any) -> None:
    """The whole run, one that is cut, and one that goes on from there."""

    def trainer(name: str) -> Trainer:
        return make_trainer(folder / name, world=world, checkpoint_every_steps=STOP_AT, **settings)

    def cut(step: int, values: Mapping[str, float]) -> None:
        if step == STOP_AT:
            raise PowerCutError

    trainer("whole").fit()
    with pytest.raises(PowerCutError):
        trainer("halves").fit(cut)
    second = trainer("halves")
    second.load_state(load_checkpoint(folder / "halves" / "last.pt"))
    assert second.num_steps == STOP_AT
    second.fit()


def check_gradients(trainer: Trainer) -> None:
    """DDP's are the mean over ranks, of the teacher and of the shared head too; without dropout and batch norm."""
    trainer.parallel.eval()
    clips = next(iter(trainer.make_loader(0)))
    trainer._forward_backward(clips)
    averaged = {name: value.grad.clone() for name, value in trainer.trainable.named_parameters()}
    trainer.trainable.zero_grad(set_to_none=True)
    trainer.parallel = trainer.trainable
    trainer._forward_backward(clips)
    for name, value in trainer.trainable.named_parameters():
        dist.all_reduce(value.grad)
        expected = value.grad / trainer.world.size
        torch.testing.assert_close(averaged[name], expected, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_resumed_losses_are_those_of_the_run_never_stopped_to_the_bit(tmp_path: Path, size: int) -> None:
    mp.spawn(train, args=(size, tmp_path), nprocs=size)
    kinds = {"frozen": ["student"], "joint": ["student", "teacher"]} if size == 2 else {"frozen": ["student"]}
    for folder, parts in ((tmp_path / kind, parts) for kind, parts in kinds.items()):
        whole, halves = (
            losses([json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()])
            for name in ("whole", "halves")
        )
        assert len(halves) == 12
        assert halves == whole
        states = [load_checkpoint(folder / name / "last.pt") for name in ("whole", "halves")]
        for part in parts:
            one, other = (state[part] for state in states)
            assert all(torch.equal(one[name], other[name]) for name in one)


def train_to(rank: int, size: int, folder: Path, stop_at: int) -> None:
    """Go on from the last checkpoint, if there is one, and be cut."""
    torch.set_num_threads(1)
    if size > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/join{stop_at}", rank=rank, world_size=size)
    trainer = make_trainer(folder / "run", world=World(rank, size, torch.device("cpu")), checkpoint_every_steps=4)
    if (folder / "run" / "last.pt").exists():
        trainer.load_state(load_checkpoint(folder / "run" / "last.pt"))

    def cut(step: int, values: Mapping[str, float]) -> None:
        if step == stop_at:
            raise PowerCutError

    with suppress(PowerCutError):
        trainer.fit(cut)
    if size > 1:
        dist.destroy_process_group()


@pytest.mark.slow
def test_bad_clips_are_counted_and_listed_once_with_two_processes_then_one_then_two(tmp_path: Path) -> None:
    for size, stop_at, saved_at in ((2, 5, 4), (1, 11, 9), (2, 12, 12)):
        mp.spawn(train_to, args=(size, tmp_path, stop_at), nprocs=size)
        faults = load_checkpoint(tmp_path / "run" / "last.pt")["faults"]
        bad = range(0, 8 * saved_at, 5)
        assert (faults["num_served"], faults["num_substituted"]) == (8 * saved_at, len(bad))
        assert faults["files"] == Counter(f"{position % 24}.mp4" for position in bad)
        assert quarantined(tmp_path / "run") == list(range(0, 8 * stop_at, 5))
