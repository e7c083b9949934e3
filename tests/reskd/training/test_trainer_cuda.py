"""Training steps on a GPU: nothing waits for it, half precision learns, resume is exact, ranks agree through NCCL."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from reskd.distributed import World
from reskd.losses.config import LogitMapLossConfig, LossConfig, PixelLossConfig
from reskd.training.checkpoint import load_checkpoint
from tests.devices import CUDA, DEVICES
from tests.reskd.training.tiny import losses, make_trainer

STOP_AT = 5
BOTH_TERMS = LossConfig(pixel=PixelLossConfig(alpha=1.0), logit_map=LogitMapLossConfig(alpha=1.0))


def world_of(device: str) -> World:
    return World(0, 1, torch.device(device, 0) if device == "cuda" else torch.device(device))


@contextmanager
def never_waiting(device: str) -> Iterator[None]:
    """On a GPU, whatever makes the host wait for it is an error."""
    if device == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("default")


@contextmanager
def repeatable() -> Iterator[None]:
    """As ``training.deterministic`` sets it for a run."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("joint", [False, True], ids=["frozen", "joint"])
@pytest.mark.parametrize(
    ("device", "precision"),
    [("cpu", "fp32"), *(pytest.param("cuda", name, marks=CUDA.marks) for name in ("fp32", "fp16", "bf16"))],
)
def test_no_step_waits_for_the_device(device: str, precision: str, joint: bool, tmp_path: Path) -> None:
    """With clipping, several passes a step, the fused loss and the logit map's; steps that are not logged."""
    trainer = make_trainer(
        tmp_path, world=world_of(device), loss=BOTH_TERMS, joint=joint, precision=precision, max_clips_per_pass=4
    )
    batches = itertools.cycle([batch.to(device) for batch in itertools.islice(trainer.make_loader(0), 4)])
    trainer.train_step(batches)  # kernels are chosen, state of the optimizer is made
    before = [parameter.detach().clone() for parameter in trainer.trainable.student.parameters()]
    with never_waiting(device):
        for _ in range(4):
            trainer.train_step(batches)
    after = list(trainer.trainable.student.parameters())
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert all(bool(parameter.isfinite().all()) for parameter in after)


@pytest.mark.parametrize("device", DEVICES)
def test_a_resumed_run_is_the_run_that_never_stopped_to_the_bit(device: str, tmp_path: Path) -> None:
    class PowerCutError(Exception):
        pass

    def trainer(name: str) -> Any:
        settings = {"precision": "fp16" if device == "cuda" else "fp32", "checkpoint_every_steps": STOP_AT}
        return make_trainer(tmp_path / name, world=world_of(device), joint=True, **settings)

    def cut(step: int, values: Mapping[str, float]) -> None:
        if step == STOP_AT:
            raise PowerCutError

    with repeatable():
        trainer("whole").fit()
        with pytest.raises(PowerCutError):
            trainer("halves").fit(cut)
        second = trainer("halves")
        second.load_state(load_checkpoint(tmp_path / "halves" / "last.pt"))
        second.fit()
    told = {name: lines_of(tmp_path / name) for name in ("whole", "halves")}
    assert losses(told["whole"]) == losses(told["halves"])
    whole, halves = (load_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "halves"))
    assert all(torch.equal(value, halves["student"][name]) for name, value in whole["student"].items())


def lines_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("device", DEVICES)
def test_a_loss_that_is_not_finite_changes_no_weight(device: str, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, world=world_of(device))
    batch = next(iter(trainer.make_loader(0)))
    trainer.train_step(itertools.repeat(batch))
    before = {name: value.detach().clone() for name, value in trainer.trainable.named_parameters()}
    hook = trainer.trainable.student.head.register_forward_hook(lambda module, inputs, output: output * float("nan"))
    trainer.train_step(itertools.repeat(batch))
    hook.remove()
    assert all(torch.equal(value, before[name]) for name, value in trainer.trainable.named_parameters())


def train_as_rank(rank: int, size: int, device: str, folder: Path) -> None:
    torch.set_num_threads(1)
    if device == "cuda":
        torch.cuda.set_device(rank)
    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"file://{folder}/join", rank=rank, world_size=size)
    trainer = make_trainer(folder / "run", world=World(rank, size, torch.device(device, rank)))
    trainer.fit()
    weights = torch.cat([value.detach().flatten() for value in trainer.trainable.parameters()])
    smallest, largest = weights.clone(), weights.clone()
    dist.all_reduce(smallest, dist.ReduceOp.MIN)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    assert torch.equal(smallest, largest)
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_ranks_hold_the_same_weights_after_a_run(device: str, tmp_path: Path) -> None:
    """Through NCCL on two GPUs; where there is one, by a group of one rank."""
    size = min(2, torch.cuda.device_count()) if device == "cuda" else 2
    mp.spawn(train_as_rank, args=(size, device, tmp_path), nprocs=size)
    assert len(lines_of(tmp_path / "run")) == 12
