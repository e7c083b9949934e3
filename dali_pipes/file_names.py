"""File names as they are: bytes, of any encoding and up to 255 long. ``os.fsdecode(b"caf\\xe9.mp4")`` is not UTF-8.

CSV files store such a name as its bytes, with ``errors="surrogateescape"``; output for people goes through
``printable``, or ``on_one_line`` where a line holds one name. Patterns in names tell which videos belong together.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TextIO

_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # reverse the direction of what follows
_NUM_NAMED = 3
_LONGEST = 255  # bytes of a name; no file system of Linux allows more


def short_enough(name: str) -> str:
    """Return ``name`` if file systems allow its length; else its start, a hash of it and its suffix, in 255 bytes."""
    data = os.fsencode(name)
    if len(data) <= _LONGEST:
        return name
    end = "." + hashlib.sha256(data).hexdigest()[:8] + PurePosixPath(name).suffix[:32]
    start = data[: _LONGEST - len(os.fsencode(end))]
    try:
        data.decode()
    except UnicodeDecodeError:
        return os.fsdecode(start) + end
    return start.decode(errors="ignore") + end  # without a part of the last character


def printable(name: str | Path) -> str:
    """Return ``name`` as text for any file or terminal: a byte that is not UTF-8 becomes ``\\udcXX``."""
    return str(name).encode("utf-8", "backslashreplace").decode()


def on_one_line(name: str | Path) -> str:
    """Return ``name`` for a line of a log or table: ``printable``, and what would break or turn the line is escaped.

    A newline becomes ``\\n``, an escape of terminals ``\\x1b``.
    """
    return "".join(char.encode("unicode_escape").decode() if _breaks(char) else char for char in printable(name))


def first_few(names: Sequence[str]) -> str:
    """The first three names for a sentence, and ", ..." where there are more."""
    return ", ".join(map(on_one_line, names[:_NUM_NAMED])) + (", ..." if len(names) > _NUM_NAMED else "")


def check_pattern(pattern: str) -> str:
    """Returns the pattern; raises ValueError if it is no regular expression."""
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"expected a regular expression, found '{on_one_line(pattern[:200])}': {error}") from None
    return pattern


def check_group_pattern(pattern: str) -> str:
    """Returns the pattern; raises ValueError if it is no regular expression, or has no pair of parentheses."""
    if re.compile(check_pattern(pattern)).groups == 0:
        raise ValueError(f"expected a pair of parentheses around the group, found '{on_one_line(pattern[:200])}'")
    return pattern


def matched_group(group_pattern: str, name: str) -> str | None:
    """The group that a pattern finds in a name, by its first pair of parentheses; None if it finds none.

    Args:
        group_pattern: as ``check_group_pattern`` expects.
    """
    match = re.search(group_pattern, name)
    return match.group(1) or None if match else None


def _breaks(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Zl", "Zp") or char in _TURNS


def print_any_name(stream: TextIO) -> None:
    """Make ``stream`` escape what it cannot encode, like ``printable``, instead of raising."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
