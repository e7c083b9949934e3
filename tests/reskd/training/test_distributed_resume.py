"""Resume with 2 and 4 processes: the run never stopped, the run stopped and gone on with, and another world size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from reskd.distributed import World
from reskd.training.checkpoint import load_checkpoint
from tests.reskd.training.tiny import losses, make_trainer

STOP_AT = 5


def train(rank: int, size: int, folder: Path, resumes: bool, num_epochs: float) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}.{resumes}.join", rank=rank, world_size=size)
    trainer = make_trainer(folder, world=World(rank, size, torch.device("cpu")), checkpoint_every_steps=STOP_AT)
    if resumes:
        trainer.load_state(load_checkpoint(folder / "last.pt"))
    if num_epochs < 4:
        # The schedule still ends at step 12: only this process stops early, as a killed one does.
        object.__setattr__(trainer.plan, "total_steps", STOP_AT)
        trainer._lr = lambda: 0.05 * _cosine(trainer.num_steps, 12)  # type: ignore[method-assign]
    trainer.fit()
    dist.destroy_process_group()


def _cosine(step: int, total: int) -> float:
    from reskd.training.schedule import ScheduleConfig, lr_factor

    return lr_factor(ScheduleConfig(), step=step, total_steps=total, steps_per_epoch=3)


def run(size: int, folder: Path, *, resumes: bool = False, num_epochs: float = 4) -> list[tuple[float, ...]]:
    mp.spawn(train, args=(size, folder, resumes, num_epochs), nprocs=size)
    return losses([json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()])


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_resumed_losses_are_those_of_the_run_never_stopped_to_the_bit(tmp_path: Path, size: int) -> None:
    whole = run(size, tmp_path / "whole")
    run(size, tmp_path / "halves", num_epochs=1)
    halves = run(size, tmp_path / "halves", resumes=True)
    assert len(halves) == 12
    assert halves == whole
    one, other = (load_checkpoint(tmp_path / name / "last.pt")["student"] for name in ("whole", "halves"))
    assert all(torch.equal(one[name], other[name]) for name in one)
