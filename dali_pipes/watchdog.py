"""Notices a reading process that hangs, and names the file it hangs at.

A hung read (a dead network disk, a pipe in place of a file) blocks DALI's ``run()`` for good and raises nothing. So
each worker notes in a small file which row it is at and since when, and a thread of the loader looks at these notes.
It kills a worker that has been at one row for too long; DALI then raises, and the loader starts again without that row.
"""

from __future__ import annotations

import os
import signal
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_NOTE = struct.Struct("<qd")  # row (-1: none), time.monotonic() when it was begun; one clock for all processes on Linux
_PREFIX = "reading-"


class Hang(NamedTuple):
    pid: int
    row: int
    seconds: float


class ReadingDiary:
    """A worker's note of what it reads, in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder / f"{_PREFIX}{os.getpid()}", os.O_WRONLY | os.O_CREAT, 0o600)

    @contextmanager
    def reading(self, row: int) -> Iterator[None]:
        os.pwrite(self._descriptor, _NOTE.pack(row, time.monotonic()), 0)
        try:
            yield
        finally:
            os.pwrite(self._descriptor, _NOTE.pack(-1, 0.0), 0)


def find_hangs(folder: Path, longer_than_s: float) -> list[Hang]:
    """Workers that have been at one row for more than so many seconds."""
    now = time.monotonic()
    hangs = []
    for note in folder.glob(f"{_PREFIX}*"):
        try:
            data = note.read_bytes()
        except FileNotFoundError:  # forgotten since it was listed
            continue
        if len(data) == _NOTE.size:
            row, since = _NOTE.unpack(data)
            if row >= 0 and now - since > longer_than_s:
                hangs.append(Hang(int(note.name.removeprefix(_PREFIX)), row, now - since))
    return hangs


def forget(folder: Path) -> None:
    """Remove the notes of workers that are gone."""
    for note in folder.glob(f"{_PREFIX}*"):
        note.unlink(missing_ok=True)


class Watchdog:
    """While open, looks at the workers' notes and kills those that hang; ``hangs`` says which it killed.

    Args:
        folder: where the workers write.
        patience_s: how long one clip may take, seconds.
    """

    def __init__(self, folder: Path, patience_s: float) -> None:
        self._folder, self._patience_s = folder, patience_s
        self.hangs: list[Hang] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="reskd-watchdog", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(min(5.0, self._patience_s / 2)):
            for hang in find_hangs(self._folder, self._patience_s):
                if hang.pid not in {known.pid for known in self.hangs} and _is_our_child(hang.pid):
                    self.hangs.append(hang)
                    os.kill(hang.pid, signal.SIGKILL)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


def _is_our_child(pid: int) -> bool:
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
