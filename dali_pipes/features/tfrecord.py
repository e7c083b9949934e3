"""TFRecord files: records of bytes, each with its length and the checksums of both.

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
    """A record that is not as it was written, or is cut off."""


class BrokenFramingError(DamagedRecordError):
    """Where a record's length is expected, there is none: where the next record begins is not told."""


class RecordLocation(NamedTuple):
    """Where the bytes of a record lie in its file, without header and footer."""

    offset: int
    length: int


class RecordWriter:
    """Writes one file: it gets its name when the ``with`` block ends without an error, and is not there before.

    Args:
        path: of the file; its folder is made, an older file is replaced.
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
    """CRC-32C, rotated and shifted so that a checksum of checksums still says something."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def record_locations(file: int, start: int = 0) -> Iterator[RecordLocation]:
    """Where the records of an open file lie, by their lengths alone; their bytes are not read.

    Args:
        file: descriptor.
        start: byte where a record's header begins.

    Raises:
        DamagedRecordError: after the last whole record, where the file goes on otherwise.
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
    """The first record from a byte on whose two checksums fit, wherever it begins; None: there is none.

    Bytes that are none pass both by chance once in 2^64 places.

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
    """(offset, length) of all that may be headers of records, of at most ``most`` bytes."""
    if len(data) < HEADER_BYTES:
        return []
    windows = np.lib.stride_tricks.sliding_window_view(data, HEADER_BYTES)
    lengths = np.ascontiguousarray(windows[:, :8]).view("<u8")[:, 0]
    offsets = np.flatnonzero(lengths <= most)
    # Each length once: a megabyte of zeros has as many places.
    values, which = np.unique(lengths[offsets], return_inverse=True)
    expected = np.array([masked_crc(_LENGTH.pack(value)) for value in values.tolist()], np.uint32)
    found = np.ascontiguousarray(windows[offsets, 8:]).view("<u4")[:, 0]
    hits = offsets[expected[which] == found]
    return list(zip(hits.tolist(), lengths[hits].tolist(), strict=True))


def read_record(file: int, location: RecordLocation) -> bytes:
    """Header, bytes and footer of a record, its checksums compared; the bytes are ``[HEADER_BYTES:-FOOTER_BYTES]``.

    The whole is returned, since cutting the ends off would copy a third of a megabyte.

    Args:
        file: descriptor; may be shared by threads.

    Raises:
        DamagedRecordError: the file ends before, or a checksum differs.
    """
    framed = os.pread(file, HEADER_BYTES + location.length + FOOTER_BYTES, location.offset - HEADER_BYTES)
    if len(framed) < HEADER_BYTES + location.length + FOOTER_BYTES:
        raise DamagedRecordError("the file ends in the middle of the record")
    if _checked_length(framed) != location.length:
        raise DamagedRecordError("the record's length is not what it was; the file was written anew")
    (expected,) = _FOOTER.unpack_from(framed, HEADER_BYTES + location.length)
    if masked_crc(np.frombuffer(framed, np.uint8, location.length, HEADER_BYTES)) != expected:
        raise DamagedRecordError("the checksum of the record's bytes (CRC-32C) is wrong")
    return framed


def _checked_length(header: bytes) -> int:
    length, expected = _HEADER.unpack_from(header)
    if masked_crc(header[:8]) != expected:
        raise BrokenFramingError("the checksum of the record's length is wrong")
    return int(length)
