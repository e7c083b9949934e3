"""Read JSON that something may have damaged: whatever is wrong with it is a ValueError."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is not JSON, has a number of too many digits, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def object_in(file: Path) -> dict[str, Any]:
    """The JSON object that a file holds; empty if there is no file, or it is damaged or holds something else."""
    try:
        found = parse_json(file.read_bytes()) if file.is_file() else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def read_json(path: Path, expected: str, *, keys: Collection[str] = (), advice: str) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Args:
        expected: what the file is, for an error, such as "the result of an evaluation".
        keys: keys that it must have.
        advice: what to do if it is damaged.

    Raises:
        ValueError: it holds something else.
        OSError: it cannot be read.
    """
    if path.exists() and not path.is_file():  # opening a pipe would block forever
        raise ValueError(f"{path}: expected {expected}, found no regular file; {advice}.")
    try:
        value = parse_json(path.read_bytes())
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: expected {expected}, found damaged JSON ({reason}); {advice}.") from None
    missing = [key for key in keys if key not in value] if isinstance(value, dict) else list(keys)
    if not isinstance(value, dict) or missing:
        found = f"no {missing[0]!r}" if missing else f"a {type(value).__name__}"
        raise ValueError(f"{path}: expected {expected}, found {found}; {advice}.")
    return value
