"""A text file to which one process at a time adds lines, and from which a killed job goes on."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def open_alone(path: Path, *, busy: str) -> Iterator[tuple[IO[str], str]]:
    """The file, open at its end and locked until the block is left, and what it holds so far.

    Args:
        busy: what to tell where another process has it open, after the file's name.

    Raises:
        ValueError: another process has it open.
        OSError: it cannot be written.
    """
    with path.open("a+", newline="", encoding="utf-8", errors="surrogateescape") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{path}: {busy}") from None
        file.seek(0)
        yield file, file.read()
