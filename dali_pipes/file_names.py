"""Print file names that are not UTF-8. A name is bytes: ``os.fsdecode(b"caf\\xe9.mp4")`` is not valid UTF-8.

CSV files store such a name as its bytes, with ``errors="surrogateescape"``; output for people goes through
``printable``.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TextIO


def printable(name: str | Path) -> str:
    """Return ``name`` as text for any file or terminal: a byte that is not UTF-8 becomes ``\\udcXX``."""
    return str(name).encode("utf-8", "backslashreplace").decode()


def print_any_name(stream: TextIO) -> None:
    """Make ``stream`` escape what it cannot encode, like ``printable``, instead of raising."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
