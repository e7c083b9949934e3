from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from reskd import rank_map
from reskd.distributed import World
from reskd.rank_map import LateRanks, RankInfo, describe_differences, describe_ranks, slowest

H100 = RankInfo("node-a", "NVIDIA H100", 12, "torch 2.11.0")


def test_ranks_are_listed_node_by_node() -> None:
    ranks = [H100] * 8 + [H100._replace(node="node-b", cores=8)] * 8 + [RankInfo("node-c", "CPU", 1, "torch 2.11.0")]
    assert describe_ranks(ranks) == [
        "ranks 0 to 7: node-a, 8 x NVIDIA H100, 12 cores each",
        "ranks 8 to 15: node-b, 8 x NVIDIA H100, 8 cores each",
        "rank 16: node-c, 1 x CPU, 1 core each",
    ]


def test_what_differs_is_named() -> None:
    assert describe_differences([H100] * 4) == []
    odd = H100._replace(software="torch 2.10.0", device="NVIDIA A100")
    assert describe_differences([H100, H100, odd, H100]) == [
        "rank 2 has other software than the rest: torch 2.10.0, not torch 2.11.0",
        "rank 2 has another device than the rest: NVIDIA A100, not NVIDIA H100",
    ]


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [([10, 10, 15], (2, 0.5)), ([30, 10], (0, 2.0)), ([10, 10, 10], (0, 0.0)), ([0, 0, 0], (0, -1.0))],
)
def test_the_slowest_is_measured_against_the_others(milliseconds: list[float], expected: tuple[int, float]) -> None:
    assert slowest(milliseconds) == pytest.approx(expected)


def test_one_rank_waits_for_nobody() -> None:
    assert LateRanks(World(0, 1, torch.device("cpu"))).note(1.0, 2.0) == {}


def _run_as(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/join", rank=rank, world_size=3)
    lines: list[str] = []
    rank_map.log.warning = lambda text, *values: lines.append(text % values)  # type: ignore[method-assign,assignment]
    late = LateRanks(World(rank, 3, torch.device("cpu")))
    for number in range(12):
        # Once, another one is slow; then rank 1 again.
        data_ms = 50.0 if (rank == 1) != (rank in (1, 2) and number == 3) else 5.0
        found = late.note(data_ms, 10.0)
        assert found["speed/slowest_rank"] == (2 if number == 3 else 1)
        assert found["speed/slowest_rank_excess"] == pytest.approx(3.0)
        assert bool(lines) == (number >= 8)
    assert len(lines) == 1 and lines[0].startswith("rank 1 is late: it needs 300 % more time than the others")
    dist.destroy_process_group()


@pytest.mark.slow
def test_a_rank_that_is_late_again_and_again_is_named_once(tmp_path: Path) -> None:
    mp.spawn(_run_as, args=(tmp_path,), nprocs=3)
