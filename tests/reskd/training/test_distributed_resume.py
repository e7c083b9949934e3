"""Resume with 2 and 4 processes: the run never stopped against the run stopped and gone on with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from reskd.distributed import World
from reskd.training.checkpoint import load_checkpoint
from reskd.training.trainer import Trainer
from tests.reskd.training.tiny import losses, make_trainer

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
