"""NAL units of H.264 and HEVC packets and headers: find them, and read some of them.

Sources: H.264 7.3.1, 7.3.3 and annexes B and D, H.265 annex D, ISO/IEC 14496-15 5.3 and 8.3.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

_FILM_GRAIN, _USER_DATA = 19, 5  # SEI messages
_X264 = bytes.fromhex("dc45e9bde6d948b7962cd820d923eeef") + b"x264 - core "
_PROFILE_444 = 244
# FFmpeg decodes 4:4:4 of older x264 the way that x264 encoded it, and reads the version only from the first packet.
_FIRST_GOOD_444 = 165

Split = Callable[[bytes], list[tuple[int, int]]]


def header_settings(codec: str, extradata: bytes) -> frozenset[bytes]:
    """The settings in a stream's extradata, each in the form of ``PictureKind.settings``."""
    if not _has_lengths(codec, extradata):
        return frozenset(extradata[start:end].rstrip(b"\0") for start, end in annex_b(extradata))
    units = []
    offset = 5 if codec == "h264" else 22
    arrays = 2 if codec == "h264" else int.from_bytes(extradata[offset : offset + 1], "big")
    offset += codec == "hevc"
    for number in range(arrays):
        size = 1 if codec == "h264" else 3  # a count; before it, in HEVC, the kind
        count = int.from_bytes(extradata[offset : offset + size][-2:], "big")
        offset += size
        for _ in range(count & 31 if codec == "h264" and not number else count):
            end = offset + 2 + int.from_bytes(extradata[offset : offset + 2], "big")
            units.append(extradata[offset + 2 : end].rstrip(b"\0"))
            offset = end
    return frozenset(units)


def _has_lengths(codec: str, extradata: bytes) -> bool:
    """Whether units have lengths (ISO/IEC 14496-15) instead of start codes; the same test as in FFmpeg."""
    if codec == "h264":
        return len(extradata) >= 7 and extradata[0] == 1
    return codec == "hevc" and len(extradata) > 22 and (extradata[0] > 0 or extradata[1] > 0 or extradata[2] > 1)


def splitter(codec: str, extradata: bytes) -> Split:
    """Return the function that finds (start, end) of each unit of a packet, or none if the lengths do not add up."""
    if not _has_lengths(codec, extradata):
        return annex_b
    return partial(_with_lengths, (extradata[4 if codec == "h264" else 21] & 3) + 1)


def _with_lengths(length_size: int, packet: bytes) -> list[tuple[int, int]]:
    units, end = [], 0
    while end + length_size <= len(packet):
        start = end + length_size
        end = start + int.from_bytes(packet[end:start], "big")
        if start < end:
            units.append((start, end))
    return units if end == len(packet) else []


def annex_b(packet: bytes) -> list[tuple[int, int]]:
    """Find (start, end) of each unit: from after a start code to the next one."""
    units = []
    start = packet.find(b"\0\0\1") + 3
    while start >= 3:
        following = packet.find(b"\0\0\1", start)
        end = len(packet) if following < 0 else following
        if start < end:
            units.append((start, end))
        start = following + 3
    return units


def is_444(unit: bytes) -> bool:
    """Whether ``unit`` is an H.264 sequence parameter set of the 4:4:4 profile, which lossless 4:2:0 also uses."""
    return len(unit) > 1 and unit[0] & 31 == 7 and unit[1] == _PROFILE_444


def is_b_slice(slice_header: bytes) -> bool:
    """Whether an H.264 slice, given from its second byte on, is B: first_mb_in_slice, then slice_type 1 or 6, both as
    Exp-Golomb codes."""
    known = _told_by_first_byte(slice_header[:1])
    return _read_slice_type(slice_header)[0] if known is None else known


@lru_cache(maxsize=257)
def _told_by_first_byte(first: bytes) -> bool | None:
    """In nearly all slices the first byte suffices: macroblock 0 takes one bit, and the type fits after it."""
    is_b, num_bits = _read_slice_type(first)
    return is_b if num_bits <= 8 * len(first) else None


def _read_slice_type(slice_header: bytes) -> tuple[bool, int]:
    """Whether the slice is B, and the number of bits read."""
    bits = int.from_bytes(slice_header[:8].ljust(8, b"\0"), "big")
    offset, values = 63, list[int]()
    while len(values) < 2:
        zeros = 0
        while offset >= 0 and not bits >> offset & 1:
            zeros, offset = zeros + 1, offset - 1
        if offset < zeros:
            return True, 64  # longer than any real one
        values.append((bits >> offset - zeros & (1 << zeros + 1) - 1) - 1)
        offset -= zeros + 1
    return values[1] % 5 == 1, 63 - offset


def sei_problem(unit: bytes, *, profile_444: bool) -> str:
    """Why a message in this unit (without its header) makes pictures depend on much earlier packets, or "".

    Film grain depends on a count of all earlier pictures; the decoder must know streams of old x264 versions as such.
    """
    message = unit.replace(b"\0\0\3", b"\0\0")
    offset = 0
    while offset + 2 < len(message):  # the last byte ends the unit
        kind_and_size = []
        for _ in range(2):
            value = 0
            while offset < len(message) and message[offset] == 255:
                value, offset = value + 255, offset + 1
            kind_and_size.append(value + (message[offset] if offset < len(message) else 0))
            offset += 1
        kind, size = kind_and_size
        if kind == _FILM_GRAIN:
            return "it has film grain"
        text = message[offset : offset + size]
        if kind == _USER_DATA and profile_444 and text.startswith(_X264):
            digits = text[len(_X264) :].split()[:1]
            if not digits or not digits[0].isdigit() or int(digits[0]) < _FIRST_GOOD_444:
                return "it is 4:4:4 of an old x264"
        offset += size
    return ""
