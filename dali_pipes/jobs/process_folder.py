"""A temporary folder of this process: removed when the process ends, or, if it was killed, by the next one.

Note [Which folders are left over]
Each folder has a lock file beside it, which its process holds with flock(2). The kernel frees the lock when the process
ends for any reason. So a lock file that another process can lock belongs to a folder that is left over. Process numbers
would not tell: containers that share a temporary folder may use the same ones.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

_LOCK = ".lock"


class _Held(NamedTuple):
    folder: Path
    descriptor: int  # of the locked file
    pid: int


_held: dict[Path | None, _Held] = {}  # by ``above``


def process_folder(above: Path | None = None) -> Path:
    """The temporary folder of this process, under ``above``; made at the first call.

    Args:
        above: a folder for temporary files; None: ``tempfile.gettempdir()``.

    Raises:
        OSError: the folder cannot be made.
    """
    held = _held.get(above)
    if held is None or held.pid != os.getpid() or not held.folder.is_dir():
        parent = (above or Path(tempfile.gettempdir())) / f"reskd-{os.getuid()}"
        parent.mkdir(mode=0o700, exist_ok=True)
        if parent.stat().st_uid != os.getuid():
            raise PermissionError(f"expected a folder of this user at {parent}, found another user's; set TMPDIR.")
        _remove_left_over(parent)
        held = _held[above] = _make(parent)
        atexit.register(_remove, held)
    return held.folder


@contextmanager
def temporary_files_in_process_folder() -> Iterator[None]:
    """Other packages make their temporary files in ``process_folder()`` while this is open."""
    before, tempfile.tempdir = tempfile.tempdir, str(process_folder())
    try:
        yield
    finally:
        tempfile.tempdir = before


def _make(parent: Path) -> _Held:
    while True:
        descriptor, name = tempfile.mkstemp(suffix=_LOCK, prefix=f"{os.getpid()}-", dir=parent)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):  # another process took the new file for left over, before it was locked
            if os.path.samestat(os.fstat(descriptor), Path(name).stat()):
                folder = Path(name).with_suffix("")
                folder.mkdir(mode=0o700)
                return _Held(folder, descriptor, os.getpid())
        os.close(descriptor)


def _remove_left_over(parent: Path) -> None:
    """See Note [Which folders are left over]."""
    for lock in parent.glob(f"*{_LOCK}"):
        with suppress(OSError):  # it was removed meanwhile, or its process lives
            descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink()
            finally:
                os.close(descriptor)


def _remove(held: _Held) -> None:
    if held.pid == os.getpid():
        shutil.rmtree(held.folder, ignore_errors=True)
        held.folder.with_name(held.folder.name + _LOCK).unlink(missing_ok=True)
        os.close(held.descriptor)
