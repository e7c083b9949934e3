"""Read and write TFRecord files: records of bytes, each with its length and checksums.

A record is: uint64 length, uint32 masked CRC-32C of these 8 bytes, the bytes, uint32 masked CRC-32C of them; all
little-endian (tensorflow/core/lib/io/record_writer.h).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import google_crc32c
import numpy as np

from dali_pipes.atomic_files import atomic_open

HEADER_BYTES, FOOTER_BYTES = 12, 4
_LENGTH, _HEADER, _FOOTER = struct.Struct("<Q"), struct.Struct("<QI"), struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8
_SEARCHED_BYTES = 1 << 18  # at a time


class DamagedRecordError(ValueError):
    """A record is damaged or truncated."""


class BrokenFramingError(DamagedRecordError):
    """A record's length is damaged, so the start of the next record is unknown."""


class RecordLocation(NamedTuple):
    """Byte range of a record in its file, without header and footer."""

    offset: int
    length: int


class RecordWriter:
    """Writes one file, which appears when the ``with`` block ends without an error.

    Args:
        path: path of the file; its folder is created, an older file is replaced.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._new_file = atomic_open(path)
        self.num_records = 0

    def write(self, record: bytes) -> None:
        length = _LENGTH.pack(len(record))
        self._file.write(length + _FOOTER.pack(masked_crc(length)))
        self._file.write(record)
        self._file.write(_FOOTER.pack(masked_crc(record)))
        self.num_records += 1

    def __enter__(self) -> RecordWriter:
        self._file = self._new_file.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._new_file.__exit__(kind, error, trace)


def masked_crc(data: bytes | np.ndarray) -> int:
    """CRC-32C, rotated and offset so that a checksum of checksums stays meaningful."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def record_locations(file: int, start: int = 0) -> Iterator[RecordLocation]:
    """Find the records of an open file from their lengths, without reading their bytes.

    Args:
        file: descriptor.
        start: byte offset of a record's header.

    Raises:
        DamagedRecordError: after the last complete record, if the file continues with something else.
    """
    size, at = os.fstat(file).st_size, start
    while at < size:
        header = os.pread(file, HEADER_BYTES, at)
        if len(header) < HEADER_BYTES:
            raise DamagedRecordError("the file ends in the middle of a record")
        length = _checked_length(header)
        stop = at + HEADER_BYTES + length + FOOTER_BYTES
        if stop > size:
            raise DamagedRecordError(f"the file ends in the middle of a record, {stop - size} bytes short")
        yield RecordLocation(at + HEADER_BYTES, length)
        at = stop


def find_record(file: int, start: int) -> RecordLocation | None:
    """Find the first record at or after byte ``start`` with two correct checksums; None if there is none.

    Other bytes pass both checks by chance at one in 2^64 offsets.

    Args:
        file: descriptor.
    """
    size = os.fstat(file).st_size
    for at in range(start, size, _SEARCHED_BYTES):
        data = np.frombuffer(os.pread(file, _SEARCHED_BYTES + HEADER_BYTES - 1, at), np.uint8)
        for offset, length in _headers(data, most=size - at):
            location = RecordLocation(at + offset + HEADER_BYTES, length)
            try:
                read_record(file, location)
            except DamagedRecordError:
                continue
            return location
    return None


def _headers(data: np.ndarray, *, most: int) -> list[tuple[int, int]]:
    """(offset, length) of all possible headers of records of at most ``most`` bytes."""
    if len(data) < HEADER_BYTES:
        return []
    windows = np.lib.stride_tricks.sliding_window_view(data, HEADER_BYTES)
    lengths = np.ascontiguousarray(windows[:, :8]).view("<u8")[:, 0]
    offsets = np.flatnonzero(lengths <= most)
    # Check each length once: a megabyte of zeros has the same one at every offset.
    values, which = np.unique(lengths[offsets], return_inverse=True)
    expected = np.array([masked_crc(_LENGTH.pack(value)) for value in values.tolist()], np.uint32)
    found = np.ascontiguousarray(windows[offsets, 8:]).view("<u4")[:, 0]
    hits = offsets[expected[which] == found]
    return list(zip(hits.tolist(), lengths[hits].tolist(), strict=True))


def read_record(file: int, location: RecordLocation) -> bytes:
    """Read and check header, bytes and footer of a record; the bytes are ``[HEADER_BYTES:-FOOTER_BYTES]``.

    All of it is returned, since slicing off the ends would copy a third of a megabyte.

    Args:
        file: descriptor; may be shared by threads.

    Raises:
        DamagedRecordError: the file is truncated, or a checksum differs.
    """
    framed = os.pread(file, HEADER_BYTES + location.length + FOOTER_BYTES, location.offset - HEADER_BYTES)
    if len(framed) < HEADER_BYTES + location.length + FOOTER_BYTES:
        raise DamagedRecordError("the file ends in the middle of the record")
    if _checked_length(framed) != location.length:
        raise DamagedRecordError("the record's length has changed; the file was rewritten")
    (expected,) = _FOOTER.unpack_from(framed, HEADER_BYTES + location.length)
    if masked_crc(np.frombuffer(framed, np.uint8, location.length, HEADER_BYTES)) != expected:
        raise DamagedRecordError("the checksum of the record's bytes (CRC-32C) is wrong")
    return framed


def _checked_length(header: bytes) -> int:
    length, expected = _HEADER.unpack_from(header)
    if masked_crc(header[:8]) != expected:
        raise BrokenFramingError("the checksum of the record's length is wrong")
    return int(length)
