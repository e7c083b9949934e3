"""Names of files for people. A name is bytes and need not be text: ``os.fsdecode(b"caf\\xe9.mp4")`` is no valid UTF-8.

Such a name goes into a CSV that is read again with ``errors="surrogateescape"``, as the bytes that it is, and into what
people read through ``printable``.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TextIO


def printable(name: str | Path) -> str:
    """``name`` as text that any file and terminal takes: a byte that is not UTF-8 becomes ``\\udcXX``."""
    return str(name).encode("utf-8", "backslashreplace").decode()


def print_any_name(stream: TextIO) -> None:
    """From now on ``stream`` writes what it cannot encode as ``printable`` does, where it would raise."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
