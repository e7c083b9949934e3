"""A digest in files of torch.save, so that a flipped bit is noticed when they are read.

Note [What the digest covers]
torch.save writes a zip archive with a CRC-32 of each member, which torch.load does not compare. The sha256 of all bytes
around the members (names, sizes, CRC-32s) becomes the archive's comment, which any zip reader skips: the file ends with
``reskd sha256 <64 digits>``. Reading compares that and each member's CRC-32, so every byte counts. A sha256 of all
bytes would make a save half again as long (180 MB: 0.35 s for 0.22 s). Files without the comment, of earlier versions
or of others, are compared with their CRC-32s alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

_START = b"PK\x03\x04"
_END = b"PK\x05\x06"  # the last record of a zip archive: 22 bytes, of which the last two are the comment's length
_END_BYTES = 22
_PREFIX = b"reskd sha256 "
_COMMENT = re.compile(re.escape(_PREFIX) + rb"([0-9a-f]{64})")
_COMMENT_BYTES = len(_PREFIX) + 64
_LENGTH = struct.pack("<H", _COMMENT_BYTES)
_LENGTHS_AT = 26  # in a member's header: the lengths of its name and of its extra field, the last four bytes of 30


class _FailuresKept:
    """A file that remembers its first failed write, as torch replaces the error by its own."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        self._file.flush()


def save_with_digest(content: Any, file: BinaryIO) -> None:
    """torch.save ``content`` into ``file``, which is empty and can be read: see Note [What the digest covers].

    Raises:
        OSError: a write failed.
    """
    target = _FailuresKept(file)
    try:
        torch.save(content, cast(BinaryIO, target))
    except RuntimeError:
        if target.error is None:
            raise
        raise target.error from None
    with zipfile.ZipFile(file) as archive:
        digest = _digest(archive, file, end=file.seek(0, os.SEEK_END) - 2)
    file.seek(-2, os.SEEK_END)
    file.write(_LENGTH + _PREFIX + digest.encode())


def find_damage(path: Path, *, checks_members: bool = False) -> str | None:
    """What is wrong with a file of torch.save, to follow "found one that"; None if nothing is, or nothing is known.

    Args:
        checks_members: without a digest, compare the CRC-32 of each member. Not all writers but ours compute it.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if file.read(len(_START)) != _START:  # as torch.load decides, which then says what it is
            return None
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _COMMENT_BYTES - _END_BYTES))
        tail = file.read()
        is_plain = tail[-_END_BYTES:].startswith(_END) and tail.endswith(b"\0\0")
        comment = _COMMENT.fullmatch(tail[_END_BYTES:])
        length = tail[_END_BYTES - 2 : _END_BYTES]
        if not is_plain and (not tail.startswith(_END) or length != _LENGTH or comment is None):
            return "ends in bytes that torch.save does not write"
        if is_plain and not checks_members:
            return None
        try:
            with zipfile.ZipFile(file) as archive:
                if comment and _digest(archive, file, end=size - _COMMENT_BYTES - 2) != comment[1].decode():
                    return "holds other bytes than its digest says"
                name = archive.testzip()
        except Exception as error:  # zipfile has a dozen kinds of them for damaged archives
            return f"is damaged ({error})"
    return None if name is None else f"holds other bytes in {name} than its checksum says"


def _digest(archive: zipfile.ZipFile, file: BinaryIO, *, end: int) -> str:
    """The sha256 of the bytes before ``end`` that belong to no member."""
    digest, position = hashlib.sha256(), 0
    for member in sorted(archive.infolist(), key=lambda member: member.header_offset):
        file.seek(member.header_offset + _LENGTHS_AT)
        name_bytes, extra_bytes = struct.unpack("<HH", file.read(4))
        start = member.header_offset + _LENGTHS_AT + 4 + name_bytes + extra_bytes
        file.seek(position)
        digest.update(file.read(max(0, start - position)))
        position = start + member.compress_size
    file.seek(position)
    digest.update(file.read(max(0, end - position)))
    return digest.hexdigest()
