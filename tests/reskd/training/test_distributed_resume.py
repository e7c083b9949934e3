"""Resume with 2 and 4 processes: the run never stopped against the run stopped and gone on with."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

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
    """Three trainers, each with a DDP of its own: the whole run, one that is cut, one that goes on from there."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/join", rank=rank, world_size=size)

    def trainer(name: str) -> Trainer:
        world = World(rank, size, torch.device("cpu"))
        return make_trainer(folder / name, world=world, checkpoint_every_steps=STOP_AT)

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
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_resumed_losses_are_those_of_the_run_never_stopped_to_the_bit(tmp_path: Path, size: int) -> None:
    mp.spawn(train, args=(size, tmp_path), nprocs=size)
    whole, halves = (
        losses([json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()])
        for name in ("whole", "halves")
    )
    assert len(halves) == 12
    assert halves == whole
    one, other = (load_checkpoint(tmp_path / name / "last.pt")["student"] for name in ("whole", "halves"))
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
        assert (faults["num_clips"], faults["num_substituted"]) == (8 * saved_at, len(bad))
        assert faults["files"] == Counter(f"{position % 24}.mp4" for position in bad)
        assert quarantined(tmp_path / "run") == list(range(0, 8 * stop_at, 5))
