"""The machine's memory, and how to have an allocation fail instead of the process killed.

Note [Why a limit]
Linux grants nearly every allocation and kills a process once the pages that it touches are too many: without a word
from the process, and often another one than that which asked. Under RLIMIT_DATA the allocation itself fails, and
torch raises an error that names its size.
"""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dali_pipes.jobs.control_groups import folders_of_groups

_MEMINFO = Path("/proc/meminfo")


def total_bytes() -> int:
    """Memory of this machine, or of the container or job if it is given less."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *(limit for limit, _ in _limits())])


def available_bytes() -> int:
    """Memory that can still be used, of this machine or of the container or job if it is given less."""
    text = _MEMINFO.read_text() if _MEMINFO.is_file() else ""
    found = re.search(r"^MemAvailable: +([0-9]+) kB", text, re.MULTILINE)
    machine = 1024 * int(found[1]) if found else total_bytes()
    return min([machine, *(max(0, limit - used) for limit, used in _limits())])


class _Names(NamedTuple):
    """Names of a control group's files, and of a value in memory.stat."""

    limit: str
    used: str
    cache: str


_NAMES = (  # of versions 2 and 1
    _Names("memory.max", "memory.current", "inactive_file"),
    _Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def _limits() -> list[tuple[int, int]]:
    """Bytes that the control groups of this process may use and do use, without their file cache."""
    folders = list(folders_of_groups("memory"))
    return [pair for folder in folders for names in _NAMES if (pair := _read(folder, names)) is not None]


def _read(folder: Path, names: _Names) -> tuple[int, int] | None:
    """The limit and the use; None if there is no limit."""
    try:
        limit, used = ((folder / name).read_text().strip() for name in (names.limit, names.used))
        counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return int(limit), int(used) - int(counts.get(names.cache, 0))
    except (OSError, ValueError):  # no such group; its limit is "max"
        return None


@contextmanager
def limited_to_available(num_processes: int = 1) -> Iterator[None]:
    """Let allocations of this process fail beyond its share of the available memory; see Note [Why a limit].

    Args:
        num_processes: number of processes on this machine that do the same at the same time.

    Raises:
        MemoryError, or RuntimeError from torch: the block needs more.
    """
    before = resource.getrlimit(resource.RLIMIT_DATA)
    held = int(Path("/proc/self/statm").read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    wanted = held + available_bytes() // num_processes
    soft = wanted if before[0] == resource.RLIM_INFINITY else min(wanted, before[0])
    resource.setrlimit(resource.RLIMIT_DATA, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
