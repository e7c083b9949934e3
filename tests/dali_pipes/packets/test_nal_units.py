from __future__ import annotations

import pytest

from dali_pipes.packets.nal_units import header_settings, is_b_slice, splitter

SPS, PPS = bytes([0x67, 77, 0, 30, 0xAB]), bytes([0x68, 0xCE, 0x38])
AVCC = bytes([1, 77, 0, 30, 0xFF, 0xE1, 0, len(SPS)]) + SPS + bytes([1, 0, len(PPS)]) + PPS
VPS = bytes([32 << 1, 1, 0x0C])
HVCC = bytes([1] + [0] * 20 + [0xFF, 1, 0x80 | 32, 0, 1, 0, len(VPS)]) + VPS


def annex_b(*units: bytes) -> bytes:
    return b"".join(b"\0\0\0\1" + unit for unit in units)


@pytest.mark.parametrize(
    ("codec", "extradata", "settings"),
    [
        ("h264", AVCC, {SPS, PPS}),
        ("h264", annex_b(SPS, PPS), {SPS, PPS}),
        ("hevc", HVCC, {VPS}),
        ("h264", b"", set()),
        ("h264", AVCC[:12], {SPS[:4]}),  # cut short
        ("mpeg4", b"\0\0\1\xb0\1\0\0\1\x20\x08", {b"\xb0\1", b"\x20\x08"}),
    ],
)
def test_settings_of_the_header_are_told_apart(codec: str, extradata: bytes, settings: set[bytes]) -> None:
    assert header_settings(codec, extradata) == settings


def test_units_are_found_in_both_layouts() -> None:
    assert splitter("h264", AVCC)(b"\0\0\0\2ab\0\0\0\0\0\0\0\1c") == [(4, 6), (14, 15)]
    assert splitter("h264", b"")(b"\0\0\1ab\0\0\1c\0\0\1") == [(3, 5), (8, 9)]
    assert splitter("h264", AVCC)(b"\0\0\0\3ab") == []


@pytest.mark.parametrize(
    ("bits", "is_b"),
    [
        ("1" + "1", False),  # macroblock 0, slice type 0: P
        ("1" + "010", True),  # 1: B
        ("1" + "011", False),  # 2: I
        ("1" + "00110", False),  # 5
        ("1" + "00111", True),  # 6
        ("000010011" + "00111", True),  # macroblock 18
        ("0" * 64, True),  # longer than any code: whatever it is, it may be shown out of order
    ],
)
def test_b_slices_are_told_apart(bits: str, is_b: bool) -> None:
    assert is_b_slice(int(bits.ljust(64, "0"), 2).to_bytes(8, "big")) == is_b
