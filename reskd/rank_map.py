"""Which process runs where, and which one keeps the others waiting."""

from __future__ import annotations

import logging
import platform
import socket
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import torch

from dali_pipes.jobs.cores import cores_of_rank
from reskd.distributed import World, gather_objects, gather_rows

log = logging.getLogger(__name__)

_LATE = 0.25  # more time than the others' median
_TIMES_IN_A_ROW = 5


class RankInfo(NamedTuple):
    """Where a rank runs, and what on."""

    node: str
    device: str
    cores: int
    software: str


def log_ranks(world: World) -> None:
    """Log one line a node, and what differs between ranks. Every rank calls it; a run of one process logs nothing."""
    if world.size > 1:
        ranks = gather_objects(_own_info(world), world)
        for line in describe_ranks(ranks):
            log.info(line)
        for line in describe_differences(ranks):
            log.warning(line)


def describe_ranks(ranks: Sequence[RankInfo]) -> list[str]:
    """Lines such as "ranks 0 to 7: node-a, 8 x NVIDIA H100, 12 cores each"."""
    lines, start = [], 0
    for rank in range(1, len(ranks) + 1):
        if rank < len(ranks) and ranks[rank].node == ranks[start].node:
            continue
        here = ranks[start:rank]
        devices = sorted({one.device for one in here})
        counted = ", ".join(f"{sum(one.device == device for one in here)} x {device}" for device in devices)
        cores = min(one.cores for one in here)
        named = f"rank {start}" if rank == start + 1 else f"ranks {start} to {rank - 1}"
        lines.append(f"{named}: {here[0].node}, {counted}, {cores} core{'' if cores == 1 else 's'} each")
        start = rank
    return lines


def describe_differences(ranks: Sequence[RankInfo]) -> list[str]:
    """A line for each thing that differs between ranks and should not."""
    lines = []
    for name, what in (("software", "other software"), ("device", "another device")):
        values = [getattr(one, name) for one in ranks]
        usual = statistics.mode(values)
        odd = [rank for rank, value in enumerate(values) if value != usual]
        if odd:
            shown = ", ".join(map(str, odd[:8])) + ("..." if len(odd) > 8 else "")
            lines.append(f"rank {shown} has {what} than the rest: {values[odd[0]]}, not {usual}")
    return lines


class LateRanks:
    """Names the rank for which the others wait.

    Ranks meet in the backward pass, where gradients are summed, so what a rank needs before it is its own: waiting for
    data, and the forward pass.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._suspect, self._count = -1, 0
        self._named: set[int] = set()

    def note(self, data_ms: float, forward_ms: float) -> dict[str, float]:
        """Compare a rank's milliseconds of a step with the others'. Every rank calls it; empty in a world of one.

        A rank that is the slowest by a quarter several times in a row is logged once.

        Returns:
            "speed/slowest_rank", and "speed/slowest_rank_excess": how much more time it needs than the others' median.
        """
        if self._world.size == 1:
            return {}
        own = torch.tensor([[data_ms, forward_ms]], dtype=torch.float32, device=self._world.device)
        rows = gather_rows(own, self._world).tolist()
        rank, excess = slowest([sum(row) for row in rows])
        is_late = excess > _LATE
        self._count = self._count + 1 if is_late and rank == self._suspect else int(is_late)
        self._suspect = rank
        if self._count >= _TIMES_IN_A_ROW and rank not in self._named:
            self._named.add(rank)
            data, forward = rows[rank]
            log.warning(
                "rank %d is late: it needs %.0f %% more time than the others up to its loss (%.0f ms waiting for data, "
                "%.0f ms of networks), and they wait for it", rank, 100 * excess, data, forward,
            )  # fmt: skip
        return {"speed/slowest_rank": float(rank), "speed/slowest_rank_excess": excess}


def slowest(milliseconds: Sequence[float]) -> tuple[int, float]:
    """The slowest of two or more ranks, and how much more time it needs than the median of the others."""
    rank = max(range(len(milliseconds)), key=lambda number: milliseconds[number])
    others = [*milliseconds[:rank], *milliseconds[rank + 1 :]]
    return rank, milliseconds[rank] / max(statistics.median(others), 1e-6) - 1


def _own_info(world: World) -> RankInfo:
    device = torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else "CPU"
    software = f"torch {torch.__version__}, Python {platform.python_version()}"
    return RankInfo(socket.gethostname(), device, cores_of_rank(), software)
