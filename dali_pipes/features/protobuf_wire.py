"""The part of the wire format of protocol buffers that records need: fields of a message as byte ranges.

Source: the encoding page of the protocol buffers' documentation. Groups, which have been obsolete since 2008, raise an
error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_MASK_64 = (1 << 64) - 1


class MalformedMessageError(ValueError):
    """The bytes are not a message, or are truncated."""


class Field(NamedTuple):
    """One field of a message.

    Args:
        number, wire_type: from the tag.
        start, stop: byte range of the value; for type ``BYTES``, without its length.
        value: value of a varint, as an unsigned number; else 0.
    """

    number: int
    wire_type: int
    start: int
    stop: int
    value: int


def fields_of(data: bytes, start: int, stop: int) -> Iterator[Field]:
    """Yield the fields of the message in ``data[start:stop]``, in their order.

    Raises:
        MalformedMessageError: a field is invalid or extends beyond the end.
    """
    at = start
    while at < stop:
        tag, at = read_varint(data, at, stop)
        number, wire_type, value, begin = tag >> 3, tag & 7, 0, at
        if wire_type == BYTES:
            length, begin = read_varint(data, at, stop)
            at = begin + length
        elif wire_type == VARINT:
            value, at = read_varint(data, at, stop)
        elif wire_type in (FIXED64, FIXED32):
            at += 8 if wire_type == FIXED64 else 4
        else:
            raise MalformedMessageError(f"expected a field of wire type 0, 1, 2 or 5, found {wire_type}")
        if at > stop or number == 0:
            raise MalformedMessageError("expected a complete field, found one that is invalid or truncated")
        yield Field(number, wire_type, begin, at, value)


def read_varint(data: bytes, at: int, stop: int) -> tuple[int, int]:
    """Read the varint at ``at``: (unsigned number, end).

    Raises:
        MalformedMessageError: it does not end before ``stop`` or within ten bytes.
    """
    value = shift = 0
    while at < stop and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK_64, at
        shift += 7
    raise MalformedMessageError("expected a number, found bytes that do not end")


def merged(data: bytes, parts: list[tuple[int, int]]) -> tuple[bytes, int, int]:
    """Merge the occurrences of an embedded message (proto3 concatenates them): (data, start, stop)."""
    if len(parts) == 1:
        return data, *parts[0]
    joined = b"".join(data[start:stop] for start, stop in parts)
    return joined, 0, len(joined)


def signed(value: int) -> int:
    """Convert an unsigned varint to int64."""
    return value - (1 << 64) if value >> 63 else value


def write_varint(value: int) -> bytes:
    """Encode an int64; a negative one takes ten bytes."""
    value &= _MASK_64
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def write_bytes(number: int, value: bytes) -> bytes:
    """Encode a field of bytes, or an embedded message."""
    return write_varint(number << 3 | BYTES) + write_varint(len(value)) + value
