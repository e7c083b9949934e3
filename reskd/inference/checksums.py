"""The list of an export's checksums, ``SHA256SUMS``: written as ``sha256sum`` reads it, and checked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from dali_pipes.atomic_files import atomic_write_text

CHECKSUMS_NAME = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


def write_checksums(folder: Path, names: Sequence[str]) -> None:
    """Write the sha256 of those of the named files that are there, for ``sha256sum -c`` and ``check_checksums``."""
    found = [name for name in names if (folder / name).is_file()]
    atomic_write_text(folder / CHECKSUMS_NAME, "".join(f"{_sha256(folder / name)}  {name}\n" for name in found))


def check_checksums(folder: Path) -> None:
    """Compare the files that ``folder/SHA256SUMS`` names with it; files that are not there are passed over.

    Nothing is compared if there is no such list.

    Raises:
        ValueError: a file holds other bytes, or the list is damaged; names it.
        OSError: a file cannot be read.
    """
    path = folder / CHECKSUMS_NAME
    if not path.exists() and not path.is_symlink():
        return
    advice = "copy the folder again from where it is whole, or export the student again by reskd export"
    if not path.is_file():
        raise ValueError(f"{path}: expected a list of checksums, found no regular file; {advice}.")
    text = path.read_bytes().decode("utf-8", "replace")
    lines = [_LINE.fullmatch(line) for line in text.removesuffix("\n").split("\n")]
    if not text.endswith("\n") or None in lines:
        raise ValueError(f"{path}: expected a sha256 and a file's name on each line, found something else; {advice}.")
    for line in lines:
        assert line is not None
        file = folder / line[2]
        if not file.exists() and not file.is_symlink():
            continue
        if not file.is_file():
            raise ValueError(f"{file}: expected an exported file, found no regular file; {advice}.")
        if _sha256(file) != line[1]:
            raise ValueError(f"{file}: expected the bytes that {CHECKSUMS_NAME} says, found others; {advice}.")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
