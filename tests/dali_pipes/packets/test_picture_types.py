"""Packets made by hand: what their first bytes say."""

from __future__ import annotations

import numpy as np
import pytest

from dali_pipes.packets.nal_units import header_settings
from dali_pipes.packets.picture_types import (
    DISPOSABLE,
    LEADING,
    OPEN_START,
    PACKED,
    REORDERED,
    START,
    PictureKind,
    count_pictures,
    picture_reader,
)
from tests.dali_pipes.packets.test_nal_units import AVCC, HVCC, PPS, SPS, VPS, annex_b

I_SLICE, P_SLICE, B_SLICE = 0x88, 0x9A, 0x9E  # first_mb 0 is "1"; slice_type 7 is "0001000", 5 "00110", 6 "00111"


def lengths(*units: bytes) -> bytes:
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


def read(codec: str, packet: bytes, extradata: bytes = b"") -> PictureKind:
    reader = picture_reader(codec, extradata)
    assert reader is not None
    return reader(packet)


def h264(*units: bytes) -> PictureKind:
    """Read in both layouts, which have to agree."""
    one, other = read("h264", lengths(*units), AVCC), read("h264", annex_b(*units))
    assert one == other
    return one


@pytest.mark.parametrize(
    ("units", "flags"),
    [
        ([[0x65, I_SLICE]], START),
        ([[0x41, P_SLICE]], 0),
        ([[0x01, P_SLICE]], DISPOSABLE),
        ([[0x01, B_SLICE]], DISPOSABLE | REORDERED),
        ([[0x41, B_SLICE]], REORDERED),
        ([[0x41, I_SLICE]], 0),  # an I picture at a recovery point: what follows may refer to what came before it
        ([[0x01, P_SLICE], [0x41, P_SLICE]], 0),  # fields of which one is referred to
        ([[0x65, I_SLICE], [0x41, P_SLICE]], START),  # an IDR field and the P field that goes with it
        ([[0x41, P_SLICE], [0x65, I_SLICE]], 0),
        ([[0x09, 0xF0], [0x06, 1, 0, 0x80], [0x65, I_SLICE]], START),
    ],
)
def test_h264_pictures(units: list[list[int]], flags: int) -> None:
    kind = h264(*map(bytes, units))
    assert (kind.flags, kind.settings, kind.problem) == (flags, (), "")


def test_h264_settings_are_found_before_and_behind_the_picture() -> None:
    assert h264(SPS, PPS, b"\x65\x88").settings == (SPS, PPS)
    assert h264(b"\x41\x9a", PPS).settings == (PPS,)  # not allowed by the standard, and a change all the same


@pytest.mark.parametrize(
    "packet", [b"", b"\0", b"\0\0\0\5\x65\x88", lengths(b"\x65\x88") + b"\0", b"\xff" * 40, lengths(SPS)]
)
def test_a_packet_whose_units_do_not_add_up_has_a_problem(packet: bytes) -> None:
    assert "cannot be found" in read("h264", packet, AVCC).problem
    assert "cannot be found" in read("hevc", packet[:1], HVCC).problem


def test_length_fields_may_have_two_bytes() -> None:
    assert read("h264", b"\0\2\x65\x88", AVCC[:4] + b"\xfd" + AVCC[5:]).flags == START


def sei(kind: int, payload: bytes) -> bytes:
    return bytes([0x06, kind, len(payload)]) + payload + b"\x80"


def x264(version: bytes) -> bytes:
    return sei(5, bytes.fromhex("dc45e9bde6d948b7962cd820d923eeef") + b"x264 - core " + version + b" r2 - H.264")


def test_film_grain_and_old_x264_444_have_a_problem() -> None:
    high_444 = bytes([0x67, 244]) + SPS[2:]
    idr = b"\x65\x88"
    assert "film grain" in h264(sei(1, b"\x33"), sei(19, b"\x01\x02"), idr).problem
    assert "film grain" in h264(b"\x06\x01\x01\x33\x13\x01\x01\x80", idr).problem  # two messages in one unit
    assert "film grain" in read("hevc", lengths(b"\x4e\x01\x13\x01\x01\x80", b"\x28\x01\xac"), HVCC).problem
    assert h264(x264(b"148"), idr).problem == ""
    assert "old x264" in h264(high_444, x264(b"148"), idr).problem
    assert h264(high_444, x264(b"165"), idr).problem == ""


@pytest.mark.parametrize(
    ("kind", "flags"),
    [
        (0, DISPOSABLE | REORDERED),
        (1, REORDERED),
        (4, DISPOSABLE | REORDERED),
        (6, LEADING | DISPOSABLE | REORDERED),
        (7, LEADING | REORDERED),
        (8, LEADING | DISPOSABLE | REORDERED),
        (9, LEADING | REORDERED),
        (16, 0),  # after a broken link FFmpeg drops pictures
        (19, START),
        (20, START),
        (21, OPEN_START),
    ],
)
@pytest.mark.parametrize("layer", [0, 2])
def test_hevc_pictures(kind: int, flags: int, layer: int) -> None:
    units = [VPS, bytes([kind << 1, layer + 1, 0xAC]), bytes([1 << 1, 1, 0x2C])]
    for packet, extradata in ((lengths(*units), HVCC), (annex_b(*units), b"")):
        assert read("hevc", packet, extradata) == PictureKind(flags, layer, (VPS,))


@pytest.mark.parametrize(
    ("coding_type", "flags"), [(0, OPEN_START), (1, 0), (2, DISPOSABLE | REORDERED | LEADING), (3, 0)]
)
def test_mpeg4_pictures(coding_type: int, flags: int) -> None:
    layer, group = b"\0\0\1\x20\x08\x84", b"\0\0\1\xb3\x00\x10\x07"
    kind = read("mpeg4", layer + group + b"\0\0\1\xb6" + bytes([coding_type << 6 | 0x11, 0x22]))
    assert (kind.flags, kind.settings, kind.problem) == (flags, (b"\x20\x08\x84",), "")


def test_two_mpeg4_pictures_in_a_packet_are_a_problem() -> None:
    picture = b"\0\0\1\xb6\x51\x22"
    assert read("mpeg4", picture + picture).problem == PACKED
    assert "cannot be found" in read("mpeg4", b"\0\0\1\xb3\x00\x10\x07").problem


@pytest.mark.parametrize(
    ("first", "is_start"),
    [
        (0x82, True),  # marker 10, profile 0, key frame, shown
        (0x80, True),  # hidden, in a superframe
        (0x86, False),
        (0x8A, False),  # an existing frame
        (0xA2, True),
        (0xB2, False),  # profile 3 has another bit in between
        (0x42, False),
    ],
)
def test_vp9_key_frames(first: int, is_start: bool) -> None:
    assert bool(read("vp9", bytes([first, 0x49, 0x83, 0x42])).flags & START) == is_start
    assert read("vp9", b"").flags == 0


def encode_bools(bits: list[int]) -> bytes:
    """The bool encoder of RFC 6386 7.3, all probabilities 1/2, in exact arithmetic."""
    low, width, shift = 0, 255, 0
    for bit in bits:
        split = 1 + (width - 1) // 2
        low, width = (low + split, width - split) if bit else (low, split)
        while width < 128:
            low, width, shift = low << 1, width << 1, shift + 1
    return (low << 32 - 8 - shift).to_bytes(4, "big")


@pytest.mark.parametrize("flags", [[a, b, c, d] for a in (0, 1) for b in (0, 1) for c in (0, 1) for d in (0, 1)])
def test_vp8_key_frames_that_keep_the_map_of_segments_are_no_start(flags: list[int]) -> None:
    packet = b"\x10\x02\x00\x9d\x01\x2a\x60\x00\x40\x00" + encode_bools(flags)
    assert bool(read("vp8", packet).flags & START) == (flags[2:] != [1, 0])
    assert read("vp8", b"\x11" + packet[1:]).flags == 0 and read("vp8", b"").flags == 0


def obu(kind: int, payload: bytes, *, with_size: bool = True) -> bytes:
    return bytes([kind << 3 | 2 * with_size]) + (bytes([len(payload)]) if with_size else b"") + payload


@pytest.mark.parametrize(
    ("units", "is_start"),
    [
        ([obu(2, b""), obu(1, b"\0" * 11), obu(6, b"\x10\0")], True),
        ([obu(1, b"\0" * 11), obu(3, b"\x10\0")], True),
        ([obu(1, b"\0" * 11), obu(6, b"\x10\0", with_size=False)], True),
        ([obu(6, b"\x10\0")], False),  # without its sequence header
        ([obu(1, b"\0" * 11), obu(6, b"\x00\0")], False),  # a key frame that is shown later
        ([obu(1, b"\0" * 11), obu(6, b"\x30\0")], False),
        ([obu(1, b"\0" * 11), obu(3, b"\x80\0")], False),  # an existing frame
        ([], False),
    ],
)
def test_av1_key_frames(units: list[bytes], is_start: bool) -> None:
    assert bool(read("av1", b"".join(units)).flags & START) == is_start


def segment(marker: int, payload: bytes = b"\0\0") -> bytes:
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


def test_jpeg_pictures_have_their_own_tables_or_a_problem() -> None:
    start, scan = b"\xff\xd8", segment(0xDA) + b"\x12\x34\xff\xd9"
    whole = start + segment(0xE0) + segment(0xDB) + segment(0xC0) + segment(0xC4) + scan
    assert read("mjpeg", whole) == PictureKind(START)
    usual = read("mjpeg", start + segment(0xDB) + segment(0xC0) + scan)  # as in AVI: equal from picture to picture
    assert usual.flags == START and usual.settings
    for damaged in (start + segment(0xC0) + segment(0xC4) + scan, whole[:20], b"", b"\xff\xd8", start + b"\xff" * 9):
        assert "no tables" in read("mjpeg", damaged).problem


def test_an_unknown_codec_has_no_reader() -> None:
    assert picture_reader("mpeg2video", b"") is None


@pytest.mark.parametrize("codec", ["h264", "hevc", "mpeg4", "vp8", "vp9", "av1", "mjpeg"])
def test_garbage_is_read_without_an_error(codec: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(400):
        data = bytearray(rng.bytes(int(rng.integers(0, 60))))
        for offset in rng.integers(0, max(1, len(data) - 4), 3) if len(data) > 4 else ():
            data[offset : offset + 3] = b"\0\0\1"
        extradata = bytes(rng.bytes(int(rng.integers(0, 40))))
        if rng.random() < 0.5:
            extradata = b"\1" + extradata
        header_settings(codec, extradata)
        kind = read(codec, bytes(data), extradata)
        assert 0 <= kind.flags < 64


@pytest.mark.parametrize(
    ("codec", "packet", "expected"),
    [
        ("mpeg4", b"\0\0\1\xb6" + bytes(40), 1),
        ("mpeg4", b"\0\0\1\xb6\x50\x40", 0),
        ("mpeg4", b"\0\0\1\xb3\0\x10\x07\0\0\1\xb6\x50\x40", 0),
        ("mpeg4", b"\0\0\1\xb6" + b"\x20" * 40 + b"\0\0\1\xb6" + b"\x90" * 30, 2),
        ("mpeg4", b"\x7f", 0),
        ("mpeg4", b"\0", 0),
        ("mpeg4", b"damaged beyond recognition", 1),
        ("vp8", b"\x10\x02\0", 1),
        ("vp8", b"\x00\x02\0", 0),
        ("vp9", b"\x86\0", 1),
        ("vp9", b"\x84\0", 0),
        ("vp9", b"\x84\0\xc1", 1),
        ("vp9", b"\x88", 1),
        ("h264", b"\0\0\0\1\x65", 1),
    ],
)
def test_packets_say_how_many_pictures_they_show(codec: str, packet: bytes, expected: int) -> None:
    assert count_pictures(codec, packet) == expected
