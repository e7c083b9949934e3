"""The processes of one run, started by torchrun or alone: ranks, and the few collectives outside DDP.

NCCL joins GPUs, gloo joins CPUs. A run without torchrun is a world of one, and no process group exists.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

# The defaults of its functions hold the process group that exists when it is imported, as torchmetrics does later. Such
# a group outlives destroy_process_group: its threads free tensors while Python ends, which aborts the process (torch
# 2.15).
import torch.distributed.nn.functional
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from dali_pipes.jobs.worker_process import ask_for_death_with_parent
from reskd.choices import DeviceChoice
from reskd.stop_signals import StopSignals

T = TypeVar("T")
_OF_A_LOST_RANK = r"gloo|[Cc]onnection (closed|reset|refused)|Broken pipe|NCCL|process group"
_PATIENCE = timedelta(days=14)


@dataclass(frozen=True)
class World:
    """One process's rank among the processes of a run, and the signals that it received."""

    rank: int
    size: int
    device: torch.device
    signals: StopSignals = field(default_factory=StopSignals)

    @property
    def is_main(self) -> bool:
        return self.rank == 0


def choose_device(choice: DeviceChoice, local_rank: int = 0) -> torch.device:
    """Raises ValueError when CUDA is requested and not available, or there are fewer GPUs than processes."""
    if choice == "cpu" or (choice == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError("device=cuda: expected a CUDA GPU, found none; set device=cpu, or run reskd doctor.")
    if local_rank >= torch.cuda.device_count():
        raise ValueError(
            f"expected one GPU per process, found {torch.cuda.device_count()} GPUs and local rank {local_rank}; "
            "start torchrun with a smaller --nproc-per-node, or set device=cpu."
        )
    return torch.device("cuda", local_rank)


@contextmanager
def joined_world(
    device: DeviceChoice = "auto", *, timeout_minutes: float = 60, signals: StopSignals | None = None
) -> Iterator[World]:
    """This process's world for the duration of a run; torchrun's environment variables give its size.

    Args:
        signals: of this process, for a run that saves before it stops.

    Raises:
        ConnectionError: another rank has ended.
    """
    signals = signals or StopSignals()
    size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    torch_device = choose_device(device, local_rank)
    if torch_device.type == "cuda":
        torch.cuda.set_device(torch_device)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        ask_for_death_with_parent()  # a torchrun agent killed with SIGKILL must not leave its ranks behind
    if size == 1:
        yield World(0, 1, torch_device, signals)
        return
    backend = "nccl" if torch_device.type == "cuda" else "gloo"
    dist.init_process_group(
        backend,
        timeout=timedelta(minutes=timeout_minutes),
        device_id=torch_device if torch_device.type == "cuda" else None,
    )
    with _lost_ranks_in_a_sentence(rank):
        yield World(rank, size, torch_device, signals)
    # Skipped after an error, as NCCL would wait for the other ranks. torchrun ends them when this process exits.
    dist.destroy_process_group()


@contextmanager
def _lost_ranks_in_a_sentence(rank: int) -> Iterator[None]:
    """A collective fails where another rank has ended, whose own message says why."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if not isinstance(error, dist.DistError) and not re.search(_OF_A_LOST_RANK, text):
            raise
        first = (text.splitlines() or [type(error).__name__])[0][:200]
        raise ConnectionError(
            f"rank {rank} lost another rank, which has ended; its message says why. Run the same command again to "
            f"resume from the last checkpoint ({first})."
        ) from error


class StopAgreement:
    """Whether any rank was asked to stop, known to every rank after the same step.

    Each poll starts a sum over the ranks' CPUs and reads that of the poll before, so no step waits for a device or,
    usually, for another rank. A signal of one step stops all ranks after the next one.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._group: Any = dist.new_group(backend="gloo") if world.size > 1 else None
        self._pending: tuple[dist.Work, Tensor] | None = None

    def poll(self) -> int:
        """The number of the signal that stops all ranks now; 0 if none does. Every rank calls it after each step."""
        if self._world.size == 1:
            return self._world.signals.asked()
        largest = torch.tensor([self._world.signals.asked()])
        work: Any = dist.all_reduce(largest, op=dist.ReduceOp.MAX, group=self._group, async_op=True)
        before, self._pending = self._pending, (work, largest)
        return _awaited(before)

    def finish(self) -> None:
        """Wait for the last poll's sum."""
        _awaited(self._pending)
        self._pending = None


def _awaited(pending: tuple[dist.Work, Tensor] | None) -> int:
    if pending is None:
        return 0
    work, largest = pending
    work.wait()
    return int(largest)


def barrier(world: World) -> None:
    if world.size > 1:
        dist.barrier()


@contextmanager
def patient_barrier(world: World) -> Iterator[Callable[[], None]]:
    """A barrier for work of hours by one rank, such as the first scan of a data set.

    NCCL's, and gloo's with the run's time limit, would end the other ranks after that limit. Every rank enters the
    block before the work begins.
    """
    if world.size == 1:
        yield lambda: None
        return
    group: Any = dist.new_group(backend="gloo", timeout=_PATIENCE)

    def wait() -> None:
        dist.barrier(group=group)

    yield wait
    dist.destroy_process_group(group)


def mean_over_ranks(values: Tensor, world: World) -> Tensor:
    """The elementwise mean over ranks of a float tensor of equal shape on every rank."""
    if world.size == 1:
        return values
    values = values.clone()
    dist.all_reduce(values)
    return values / world.size


def minimum_over_ranks(number: int, world: World) -> int:
    if world.size == 1:
        return number
    holder = torch.tensor([number], device=world.device)
    dist.all_reduce(holder, op=dist.ReduceOp.MIN)
    return int(holder.item())


def gather_rows(rows: Tensor, world: World) -> Tensor:
    """All ranks' rows, in order of rank, on every rank. Every rank must pass the same shape."""
    if world.size == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(world.size)]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def gather_objects(value: T, world: World) -> list[T]:
    """All ranks' values, in order of rank, on every rank; anything that pickles. For small and rare data."""
    if world.size == 1:
        return [value]
    values: list[Any] = [None] * world.size
    dist.all_gather_object(values, value)
    return values


def broadcast_buffers(module: torch.nn.Module, world: World) -> None:
    """Copy rank 0's buffers to every rank. DDP does this at each forward; evaluation needs it after the last one."""
    if world.size > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)


def data_parallel(module: torch.nn.Module, world: World) -> torch.nn.Module:
    """``module``, whose gradients are averaged over the ranks in each backward pass; itself in a world of one."""
    if world.size == 1:
        return module
    device_ids = [world.device] if world.device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=device_ids, gradient_as_bucket_view=True)


def averaging_gradients(parallel: torch.nn.Module, *, now: bool) -> AbstractContextManager[None]:
    """For a pass of ``data_parallel``'s module: whether its backward averages all gradients so far, or adds its own."""
    if isinstance(parallel, DistributedDataParallel) and not now:
        return parallel.no_sync()
    return nullcontext()
