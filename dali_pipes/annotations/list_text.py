"""Decode the text of lists and class files: UTF-8, or UTF-16 and UTF-32 with a byte order mark."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from dali_pipes.file_names import printable

# UTF-32 before UTF-16: its little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(source: Path) -> str:
    """Read a text file. Bytes that are not UTF-8 are kept as in file names; see ``dali_pipes.file_names``.

    Raises:
        ValueError: a NUL byte, or a damaged UTF-16 or UTF-32 file; names file and line.
        OSError: the file cannot be read.
    """
    data = source.read_bytes()
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
    try:
        text = data.decode(encoding, errors)
    except UnicodeDecodeError as error:
        line = data[: error.start].decode(encoding, "replace").count("\n") + 1
        raise ValueError(
            f"{source}, line {line}: expected {encoding.upper()}, found damage; save it as UTF-8."
        ) from error
    if "\n" not in text:
        text = text.replace("\r", "\n")  # line ends of the first Macintosh, which some spreadsheets still write
    text = text.replace("\n\ufeff", "\n")  # two files with a mark, joined
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ValueError(
            f"{source}, line {line}: expected text, found a NUL byte; save it as UTF-8, or as UTF-16 with a byte order "
            "mark."
        )
    return text


def split_lines(text: str) -> list[str]:
    """Split at line ends alone: ``str.splitlines`` also splits at characters that a file's name may hold."""
    return text.split("\n") if "\r" not in text else re.split(r"\r\n|\n|\r", text)


def check_utf8(place: str, name: str) -> None:
    """Raises ValueError if a label or class name holds bytes that are not UTF-8; ``place``: file and line."""
    if printable(name) != name:
        raise ValueError(f"{place}: expected labels in UTF-8, found {printable(name)}; save the file as UTF-8.")
