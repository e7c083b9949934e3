"""Reads the cpu time, bytes read and memory of a process and all its living children from Linux's /proc."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_POLL_SECONDS = 0.01
_QUIET_POLLS = 6


def check_supported() -> None:
    """Refuse a system that does not list a process's children: their cost would be missing unnoticed.

    Raises:
        OSError: this is not Linux, or its kernel was built without CONFIG_PROC_CHILDREN.
    """
    pid = os.getpid()
    if not Path(f"/proc/{pid}/task/{pid}/children").exists():
        raise OSError(f"expected /proc/{pid}/task/{pid}/children, found none; measure on a common Linux kernel.")


def process_tree(pid: int) -> list[int]:
    """``pid`` and its living descendants."""
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        found.append(parent)
        for task in _tasks(parent):
            waiting += [int(child) for child in _read(task / "children").split()]
    return found


def cpu_seconds(pid: int) -> float:
    """User plus system time of the tree, including ended children that were waited for; steps of 10 ms."""
    ticks = 0
    for process in process_tree(pid):
        # The name, field 2, may hold spaces and brackets; utime, stime, cutime, cstime are fields 14 to 17.
        fields = _read(Path(f"/proc/{process}/stat")).rpartition(")")[2].split()
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / _TICKS_PER_SECOND


def bytes_read(pid: int) -> int:
    """Bytes that the tree's living processes got from read calls, cached or not; mapped files do not count."""
    return sum(_number(f"/proc/{process}/io", r"rchar: (\d+)") for process in process_tree(pid))


def memory_mib(pid: int) -> float:
    """Resident memory of the tree; a page that several processes share counts once (proportional set size)."""
    kib = sum(_number(f"/proc/{process}/smaps_rollup", r"Pss:\s+(\d+) kB") for process in process_tree(pid))
    return kib / 1024


def wait_until_quiet(pid: int, *, timeout_seconds: float = 120.0) -> float:
    """Wait until no thread of the tree has run or waited to run for about 60 ms.

    Returns:
        ``time.perf_counter()`` at the beginning of that pause.

    Raises:
        TimeoutError: there was no such pause.
    """
    deadline = time.perf_counter() + timeout_seconds
    quiet_polls, quiet_since = 0, 0.0
    while time.perf_counter() < deadline:
        now = time.perf_counter()
        if _wants_to_run(pid):
            quiet_polls = 0
        else:
            quiet_since = quiet_since if quiet_polls else now
            quiet_polls += 1
            if quiet_polls == _QUIET_POLLS:
                return quiet_since
        time.sleep(_POLL_SECONDS)
    raise TimeoutError(f"expected process {pid} to be idle within {timeout_seconds:g} s, found it busy all the time.")


def _wants_to_run(pid: int) -> bool:
    """Whether any thread is running, waiting for a core, or waiting for a disk."""
    for process in process_tree(pid):
        for task in _tasks(process):
            fields = _read(task / "stat").rpartition(")")[2].split()
            if fields and fields[0] in "RD":
                return True
    return False


def _tasks(process: int) -> Iterator[Path]:
    try:
        yield from Path(f"/proc/{process}/task").iterdir()
    except (FileNotFoundError, ProcessLookupError):  # it ended
        return


def _number(path: str, pattern: str) -> int:
    found = re.search(pattern, _read(Path(path)))
    return int(found.group(1)) if found else 0


def _read(path: Path) -> str:
    """The file's text; empty if the process has ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
