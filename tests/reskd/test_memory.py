from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from dali_pipes.jobs import control_groups
from reskd import memory
from reskd.faults import sentence_of

GIB = 2**30


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty tree of control groups."""
    monkeypatch.setattr(control_groups, "_ROOT", tmp_path)
    monkeypatch.setattr(control_groups, "_OWN_GROUPS", tmp_path / "own")
    return tmp_path


def _limit(folder: Path, limit: str, used: str, stat: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {"max": limit, "current": used, "stat": stat}.items():
        (folder / f"memory.{name}").write_text(f"{text}\n")


def test_the_machines_memory_counts_without_a_limit(groups: Path) -> None:
    assert 2**27 < memory.available_bytes() <= memory.total_bytes()
    _limit(groups, "max", "900", "inactive_file 1")
    assert 2**27 < memory.available_bytes() <= memory.total_bytes()


def test_the_narrowest_limit_counts_without_its_file_cache(groups: Path) -> None:
    _limit(groups, "1000", "900", "anon 600\ninactive_file 300\nactive_file 1")
    assert memory.total_bytes() == 1000 and memory.available_bytes() == 400
    (groups / "own").write_text("0::/jobs/step one\n")
    _limit(groups / "jobs", "700", "800", "inactive_file 200")
    _limit(groups / "jobs/step one", "max", "5", "inactive_file 0")
    assert memory.total_bytes() == 700 and memory.available_bytes() == 100
    _limit(groups / "jobs/step one", "600", "601", "inactive_file 0")
    assert memory.total_bytes() == 600 and memory.available_bytes() == 0


def test_the_first_version_of_control_groups_is_read(groups: Path) -> None:
    (groups / "own").write_text("4:cpu,cpuacct:/a\n3:memory:/job\n0::/a\n")
    folder = groups / "memory/job"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text("1000\n")
    (folder / "memory.usage_in_bytes").write_text("700\n")
    (folder / "memory.stat").write_text("cache 1\ntotal_inactive_file 50\n")
    assert memory.total_bytes() == 1000 and memory.available_bytes() == 350


def test_an_allocation_beyond_the_available_memory_fails_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: GIB)
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(RuntimeError) as caught, memory.limited_to_available(2):
        torch.empty(GIB // 4, dtype=torch.uint8)  # half of the share
        torch.empty(GIB, dtype=torch.uint8)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert "expected enough memory" in str(sentence_of(caught.value))
    torch.empty(GIB, dtype=torch.uint8)
