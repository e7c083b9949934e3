"""Hash a few samples of a video's bytes: enough to take nearly all videos of equal size apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import BinaryIO, NamedTuple

UNKNOWN = 0
_SAMPLE = 4096  # bytes, at the start, in the middle and at the end
_CHUNK = 1 << 20


class Piece(NamedTuple):
    """A byte range of a local file."""

    file: str
    start: int
    size: int


def sample_hash(pieces: Sequence[Piece]) -> int:
    """Hash samples of a video of these pieces, in order: 1 to 2**63 - 1, or UNKNOWN if one cannot be read."""
    try:
        return _as_number(_hash(_samples(pieces), _read_file))
    except OSError:
        return UNKNOWN


def sample_hash_of(content: BinaryIO, size: int) -> int:
    """The same of a video of ``size`` bytes that can be sought; as of one piece."""

    def read(piece: Piece) -> Iterable[bytes]:
        content.seek(piece.start)
        return (content.read(piece.size),)

    return _as_number(_hash(_samples([Piece("", 0, size)]), read))


def whole_hash(pieces: Iterable[Piece]) -> bytes:
    """Hash all bytes; 16 bytes. Raises OSError for a missing file."""
    return _hash(pieces, _read_file)


def _samples(pieces: Sequence[Piece]) -> Sequence[Piece]:
    first, middle, last = pieces[0], pieces[len(pieces) // 2], pieces[-1]
    return (
        Piece(first.file, first.start, min(first.size, _SAMPLE)),
        Piece(middle.file, middle.start + middle.size // 2, min(middle.size - middle.size // 2, _SAMPLE)),
        Piece(last.file, last.start + max(0, last.size - _SAMPLE), min(last.size, _SAMPLE)),
    )


def _hash(pieces: Iterable[Piece], read: Callable[[Piece], Iterable[bytes]]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for piece in pieces:
        digest.update(f"{piece.size};".encode())
        for data in read(piece):
            digest.update(data)
    return digest.digest()


def _read_file(piece: Piece) -> Iterable[bytes]:
    with open(piece.file, "rb", buffering=0) as file:  # noqa: PTH123 -- not a Path: there may be thousands
        file.seek(piece.start)
        left = piece.size
        while left > 0 and (data := file.read(min(left, _CHUNK))):
            yield data
            left -= len(data)


def _as_number(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "little") >> 1 or 1
