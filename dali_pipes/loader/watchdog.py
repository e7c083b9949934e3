"""Detect workers that hang or have ended, and name the file at which they hang.

A hung read (a dead network disk, a pipe in place of a file) blocks DALI's ``run()`` forever and raises nothing. So
each worker notes in a small file which row it reads and since when, and a thread of the loader checks these notes.
It kills a worker that reads one row for too long; DALI then raises, and the loader restarts without that row.

Note [A worker that ends while it waits]
DALI 2.4 distributes work through a ``multiprocessing.Condition``, whose ``notify()`` waits until a sleeper has woken. A
worker that was killed while sleeping, for example by the kernel's OOM killer, never wakes: the next ``run()`` blocks
forever in a semaphore without a timeout (docs/lab_notes.md). So ``watching`` checks before each batch that all workers
are alive. The thread detects a worker that ends after this check, and interrupts the main thread by a signal. If DALI
was called from another thread, nothing can interrupt it, and the log says so.
"""

from __future__ import annotations

import logging
import os
import signal
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)

_NOTE = struct.Struct("<qd")  # row (-1: none), its start by time.monotonic(): on Linux one clock for all processes
_PREFIX = "reading-"
_FREE = signal.SIGURG  # sent by nobody else; ignored without a handler


class Hang(NamedTuple):
    pid: int
    row: int
    seconds: float


class WorkerEndedError(RuntimeError):
    """A worker process has ended."""


class WorkerHeartbeat:
    """A worker's note in ``folder`` of the row that it reads."""

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
    """Workers that have read one row for more than ``longer_than_s`` seconds."""
    now = time.monotonic()
    hangs = []
    for note in folder.glob(f"{_PREFIX}*"):
        try:
            data = note.read_bytes()
        except FileNotFoundError:  # removed since it was listed
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
    """While open, checks the workers' notes and kills workers that hang; ``hangs`` lists them.

    Args:
        folder: folder of the workers' notes.
        patience_s: longest time for one clip, in seconds.
        workers: the worker processes.
    """

    def __init__(self, folder: Path, patience_s: float, workers: Sequence[BaseProcess] = ()) -> None:
        self._folder, self._patience_s, self._workers = folder, patience_s, workers
        self.hangs: list[Hang] = []
        self._waiting_since: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="reskd-watchdog", daemon=True)
        self._thread.start()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Guard a call of DALI; see Note [A worker that ends while it waits].

        Raises:
            WorkerEndedError: a worker had ended before, or has ended and the call did not return in time.
        """
        self._raise_if_ended()
        in_main_thread = threading.current_thread() is threading.main_thread()
        before = signal.signal(_FREE, lambda *_: self._raise_if_ended()) if in_main_thread else None
        self._waiting_since = time.monotonic()
        try:
            yield
        finally:
            self._waiting_since = None
            if in_main_thread:
                signal.signal(_FREE, before)

    def machine_fault(self) -> str | None:
        """Why workers ended, if that is the machine's fault and not a file's; None if nothing says so."""
        codes = {worker.exitcode for worker in self._ended()}
        hung = {hang.pid for hang in self.hangs}
        if -signal.SIGBUS in codes:
            return (
                "a worker was ended by SIGBUS, as the system does when /dev/shm is full; start the container with a "
                "larger --shm-size, or lower data.loader.prefetch or training.max_clips_per_pass"
            )
        if any(worker.exitcode == -signal.SIGKILL and worker.pid not in hung for worker in self._ended()):
            return (
                "a worker was killed (SIGKILL), as the system does when memory runs out; lower data.loader.num_workers "
                "or data.loader.prefetch, or give the container more memory"
            )
        return None

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(min(5.0, self._patience_s / 2)):
            for hang in find_hangs(self._folder, self._patience_s):
                if hang.pid not in {known.pid for known in self.hangs} and _is_our_child(hang.pid):
                    self.hangs.append(hang)
                    os.kill(hang.pid, signal.SIGKILL)
            since = self._waiting_since
            if since is not None and time.monotonic() - since > self._patience_s and self._ended():
                log.warning("a worker has ended while DALI waits for it; interrupting the main thread")
                signal.pthread_kill(threading.main_thread().ident or 0, _FREE)

    def _ended(self) -> list[BaseProcess]:
        ended = wait([worker.sentinel for worker in self._workers], timeout=0)
        return [worker for worker in self._workers if worker.sentinel in ended]

    def _raise_if_ended(self) -> None:
        if ended := self._ended():
            codes = ", ".join(sorted({str(worker.exitcode) for worker in ended}))
            raise WorkerEndedError(f"{len(ended)} worker processes ended (exit code {codes}; -9: killed)")


def _is_our_child(pid: int) -> bool:
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
