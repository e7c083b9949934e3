from __future__ import annotations

import importlib
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from reskd.distributed import StopAgreement, World, gather_rows, patient_barrier


def _wait_longer_than_the_limit(rank: int, folder: Path) -> None:
    limit = timedelta(seconds=2)
    dist.init_process_group("gloo", init_method=f"file://{folder}/join", rank=rank, world_size=2, timeout=limit)
    with patient_barrier(World(rank, 2, torch.device("cpu"))) as wait:
        if rank == 0:
            time.sleep(5)
            (folder / "done").touch()
        wait()
        assert (folder / "done").exists()
    dist.destroy_process_group()


@pytest.mark.slow
def test_ranks_wait_for_a_scan_longer_than_the_time_limit_of_collectives(tmp_path: Path) -> None:
    mp.spawn(_wait_longer_than_the_limit, args=(tmp_path,), nprocs=2)


def _leave_after_an_evaluation(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/join", rank=rank, world_size=2)
    world = World(rank, 2, torch.device("cpu"))
    importlib.import_module("torchmetrics.functional.classification")  # as the evaluation does, once a group exists
    gather_rows(torch.ones(1, 1), world)
    agreement = StopAgreement(world)
    agreement.poll()
    agreement.finish()
    del agreement
    dist.destroy_process_group()
    names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    assert not [name for name in names if "gloo" in name], names


@pytest.mark.slow
def test_no_thread_of_a_process_group_outlives_it(tmp_path: Path) -> None:
    """One that does may abort the process while Python ends."""
    mp.spawn(_leave_after_an_evaluation, args=(tmp_path,), nprocs=2)


def test_a_world_of_one_waits_for_nobody() -> None:
    with patient_barrier(World(0, 1, torch.device("cpu"))) as wait:
        wait()
