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
from pathlib import Path, PurePosixPath
from typing import NamedTuple

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


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


def _limits() -> list[tuple[int, int]]:
    """Bytes that the control groups of this process, version 2 or 1, may use and do use, without their file cache."""
    text = _OWN_GROUPS.read_text() if _OWN_GROUPS.is_file() else ""
    paths = {
        controllers: path.lstrip("/") for _, controllers, path in (line.split(":", 2) for line in text.splitlines())
    }
    groups = [
        _Group(_CGROUP, paths.get("", ""), "memory.max", "memory.current", "inactive_file"),
        _Group(
            _CGROUP / "memory",
            paths.get("memory", ""),
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file",
        ),
    ]
    return [pair for group in groups for folder in group.folders() if (pair := group.read(folder)) is not None]


class _Group(NamedTuple):
    """A control group, below ``root``, and the names of its files and of a value in memory.stat."""

    root: Path
    path: str
    limit: str
    used: str
    cache: str

    def folders(self) -> list[Path]:
        """Its own and those of the groups around it, which limit it too."""
        return [self.root / self.path, *(self.root / parent for parent in PurePosixPath(self.path).parents)]

    def read(self, folder: Path) -> tuple[int, int] | None:
        """The limit and the use; None if there is no limit."""
        try:
            limit, used = ((folder / name).read_text().strip() for name in (self.limit, self.used))
            counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            return int(limit), int(used) - int(counts.get(self.cache, 0))
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
