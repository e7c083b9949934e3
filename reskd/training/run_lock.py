"""One run at a time in a folder: ``run.lock`` names the process that trains there.

Note [Two kinds of lock]
The kernel's lock (flock) ends with its process, however that ends, so a lock file of a killed run is only a note. But
flock does not reach other machines on every file system. So the file also names the machine, and what a run on another
machine has left is believed: it is refused until the user deletes the file. A job that a scheduler started again is the
exception: Slurm gives it the number that it had, so its earlier part has ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import socket
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from dali_pipes.atomic_files import full_disk_named
from dali_pipes.json_files import parse_json
from reskd.distributed import World, gather_objects

log = logging.getLogger(__name__)

LOCK_NAME = "run.lock"


class RunLock:
    """Holds the lock of a run's folder from ``take`` to ``release``.

    Args:
        folder: made by ``take`` if it is missing; ``release`` removes an empty one that ``take`` made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / LOCK_NAME
        self._descriptor: int | None = None
        self._made: list[Path] = []

    def take(self) -> None:
        """Take the lock, or that of a run that has ended.

        Raises:
            BlockingIOError: another run holds it.
            ValueError: something else, such as a pipe, has its name.
            DiskFullError: there is no room for the note.
        """
        if self._folder.exists() and not self._folder.is_dir():
            return  # open_run_directory says what is wrong
        self._made += [one for one in (self._folder, *self._folder.parents) if not one.exists()]
        self._folder.mkdir(parents=True, exist_ok=True)
        while self._descriptor is None:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise ValueError(f"{self._path}: expected the lock of a run, found no regular file; remove it.")
                self._check(descriptor)
                if _is_at(descriptor, self._path):  # else its holder has just released and removed it
                    self._descriptor = descriptor
            finally:
                if self._descriptor is None:
                    os.close(descriptor)
        try:
            self._write(self._descriptor)
        except OSError:
            self.release()
            raise

    def ensure(self) -> None:
        """Take the lock anew if the file was deleted, with the folder or alone."""
        if self._descriptor is not None and not _is_at(self._descriptor, self._path):
            os.close(self._descriptor)
            self._descriptor = None
            self.take()

    def release(self) -> None:
        if self._descriptor is None:
            return
        if _is_at(self._descriptor, self._path):
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None
        for folder in self._made:
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()

    def _check(self, descriptor: int) -> None:
        """Take the kernel's lock and judge what is written: see Note [Two kinds of lock]."""
        holder = _read(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Its holder may not have written yet.
            raise self._in_use(holder) from None
        except OSError:  # a file system without flock
            if holder.get("host") == socket.gethostname() and _is_alive(holder):
                raise self._in_use(holder) from None
        if holder and holder.get("host") != socket.gethostname() and not _is_same_job(holder):
            raise BlockingIOError(
                f"{self._folder}: expected no other run in this folder, found {_describe(holder)}; if it has ended, "
                f"delete {self._path} and run the same command again."
            )
        if holder:
            log.info("%s: the run of %s has ended without releasing the folder", self._folder, _describe(holder))

    def _in_use(self, holder: dict[str, Any]) -> BlockingIOError:
        return BlockingIOError(
            f"{self._folder}: expected no other run in this folder, found {_describe(holder)}; wait for it or stop it, "
            "or choose another name=...."
        )

    def _write(self, descriptor: int) -> None:
        note = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": datetime.now().astimezone().isoformat(timespec="seconds"),
            "job": _job(),
            "ticks": _start_ticks(os.getpid()),
        }
        with full_disk_named(self._path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, (json.dumps(note) + "\n").encode(), 0)


def _read(descriptor: int) -> dict[str, Any]:
    """What is written in a lock file; empty if nothing or no note of ours."""
    try:
        note = parse_json(os.pread(descriptor, 10000, 0))
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def _describe(holder: dict[str, Any]) -> str:
    if not holder:
        return "another process that has just started"
    return f"process {holder.get('pid')} on {holder.get('host')}, started {holder.get('started')}"


def _is_same_job(holder: dict[str, Any]) -> bool:
    return _job() is not None and holder.get("job") == _job()


def _job() -> str | None:
    return os.environ.get("SLURM_JOB_ID")


def _is_alive(holder: dict[str, Any]) -> bool:
    pid = holder.get("pid")
    return isinstance(pid, int) and holder.get("ticks") == _start_ticks(pid) is not None


def _start_ticks(pid: int) -> int | None:
    """When a process of this machine started, in clock ticks since boot; None if there is none. See proc(5), stat."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether ``path`` still is the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def held_by_all(folder: Path, world: World) -> Iterator[RunLock]:
    """The lock of a run's folder, held by rank 0 for all ranks; every rank raises OSError if another run holds it."""
    lock, refused = RunLock(folder), ""
    if world.is_main:
        try:
            lock.take()
        except OSError as error:
            refused = str(error)
    refused = gather_objects(refused, world)[0]
    if refused:
        raise OSError(refused)
    try:
        yield lock
    finally:
        lock.release()
