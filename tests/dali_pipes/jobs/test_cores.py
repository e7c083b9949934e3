from __future__ import annotations

import os
from pathlib import Path

import pytest

from dali_pipes.jobs import control_groups, cores


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 16 cores whose control groups are in the returned folder."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    monkeypatch.setattr(control_groups, "_ROOT", tmp_path / "groups")
    monkeypatch.setattr(control_groups, "_OWN_GROUPS", tmp_path / "own")
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    return tmp_path


def _write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_without_groups_the_affinity_counts(groups: Path) -> None:
    assert cores.usable_cores() == 16
    (groups / "own").write_text("0::/none\n")
    assert cores.usable_cores() == 16


@pytest.mark.parametrize(("text", "expected"), [("max 100000", 16), ("250000 100000", 3), ("50000 100000", 1)])
def test_a_quota_limits_them(text: str, expected: int, groups: Path) -> None:
    (groups / "own").write_text("0::/job/step\n")
    _write(groups / "groups" / "job" / "step", cpu__max=text)
    assert cores.usable_cores() == expected


def test_the_smallest_quota_around_counts(groups: Path) -> None:
    (groups / "own").write_text("0::/job/step\n")
    _write(groups / "groups" / "job" / "step", cpu__max="800000 100000")
    _write(groups / "groups" / "job", cpu__max="400000 100000")
    _write(groups / "groups", cpu__max="max 100000")
    assert cores.usable_cores() == 4


@pytest.mark.parametrize(("quota", "expected"), [("-1", 16), ("600000", 6), ("junk", 16)])
def test_groups_of_version_1(quota: str, expected: int, groups: Path) -> None:
    (groups / "own").write_text("5:memory:/other\n4:cpu,cpuacct:/docker/1\n")
    _write(groups / "groups" / "cpu" / "docker" / "1", cpu__cfs_quota_us=quota, cpu__cfs_period_us="100000")
    _write(groups / "groups" / "cpu" / "other", cpu__cfs_quota_us="100000", cpu__cfs_period_us="100000")
    assert cores.usable_cores() == expected


@pytest.mark.parametrize(("ranks", "expected"), [("1", 16), ("8", 2), ("64", 1), ("0", 16)])
def test_ranks_share_them(ranks: str, expected: int, groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
    assert cores.cores_of_rank() == expected


@pytest.mark.parametrize(
    ("cores_of_rank", "num_engines", "pyav_share", "expected"),
    [
        (16, 7, 0.0, (4, 8)),  # an H100's seven engines want 21 threads
        (16, 1, 0.0, (4, 3)),
        (16, 0, 0.0, (4, 8)),
        (16, 7, 0.1, (7, 8)),
        (16, 7, 1.0, (13, 2)),
        (64, 7, 0.0, (4, 21)),
        (2, 7, 0.0, (1, 2)),
        (1, 7, 1.0, (1, 1)),
    ],
)
def test_on_a_gpu_threads_feed_the_engines_and_workers_take_the_rest(
    cores_of_rank: int, num_engines: int, pyav_share: float, expected: tuple[int, int]
) -> None:
    chosen = cores.choose_parallelism(cores_of_rank, on_gpu=True, num_engines=num_engines, pyav_share=pyav_share)
    assert chosen == expected


@pytest.mark.parametrize(("cores_of_rank", "expected"), [(1, (1, 1)), (2, (2, 2)), (4, (2, 2)), (32, (8, 2))])
def test_on_a_cpu_training_keeps_most_cores(cores_of_rank: int, expected: tuple[int, int]) -> None:
    assert cores.choose_parallelism(cores_of_rank, on_gpu=False, num_engines=0, pyav_share=1.0) == expected
