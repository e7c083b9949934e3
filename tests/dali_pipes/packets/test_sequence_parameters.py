"""Streams of x264 with and without fields, and parameter sets written bit by bit."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from dali_pipes.packets.sequence_parameters import may_code_fields
from dali_pipes.scan.probe import probe

PLAIN = {"g": "12"}


def _encode(path: Path, codec: str, options: dict[str, str], pix_fmt: str = "yuv420p") -> Path:
    with av.open(str(path), "w") as target:
        stream = target.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 200, 112, pix_fmt
        for number in range(4):
            picture = np.full((112, 200, 3), 40 * number, np.uint8)
            target.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        target.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("suffix", ["mp4", "ts", "mkv"])
@pytest.mark.parametrize(
    ("options", "pix_fmt", "interlaced"),
    [
        (PLAIN, "yuv420p", False),
        (PLAIN | {"bf": "0"}, "yuv420p", False),
        (PLAIN | {"profile": "baseline"}, "yuv420p", False),
        (PLAIN | {"x264-params": "cqm=jvt"}, "yuv420p", False),
        (PLAIN | {"qp": "0"}, "yuv444p", False),
        (PLAIN | {"flags": "+ildct+ilme"}, "yuv420p", True),
        (PLAIN | {"flags": "+ildct+ilme", "x264-params": "cqm=jvt"}, "yuv420p", True),
        (PLAIN | {"x264-params": "fake-interlaced=1"}, "yuv420p", True),
    ],
)
def test_a_scan_tells_streams_that_may_hold_fields(
    options: dict[str, str], pix_fmt: str, interlaced: bool, suffix: str, decode: bool, tmp_path: Path
) -> None:
    found = probe(_encode(tmp_path / f"clip.{suffix}", "libx264", options, pix_fmt), decode=decode).video_info
    assert found.health == "ok" and found.interlaced == interlaced
    assert (found.coded_width, found.coded_height) == (208, 128 if interlaced else 112)


def test_other_codecs_have_no_fields(tmp_path: Path) -> None:
    found = probe(_encode(tmp_path / "clip.avi", "mpeg4", {})).video_info
    assert not found.interlaced and (found.coded_width, found.coded_height) == (200, 112)


def _unit(bits: str) -> bytes:
    bits += "1"
    data = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    return b"\x67" + data


BASELINE = f"{66:08b}" + "0" * 8 + f"{30:08b}" + "1"  # profile, constraints, level, seq_parameter_set_id 0
END = "010" + "0" + "00101" + "00100"  # one reference frame, no gaps, 5 x 4 macroblocks


@pytest.mark.parametrize("flag", ["0", "1"])
@pytest.mark.parametrize("order", ["1" + "1", "010" + "0" + "011" + "00100" + "011" + "1" + "00111", "011"])
def test_every_kind_of_picture_order_is_skipped(order: str, flag: str) -> None:
    """Types 0, 1 (with a cycle of two offsets) and 2."""
    assert may_code_fields([_unit(BASELINE + "1" + order + END + flag)]) == (flag == "0")


@pytest.mark.parametrize("units", [[], [b""], [b"\x67"], [b"\x67\x42\x00"], [b"\x68\xce\x38"], [b"\x67" + b"\0" * 40]])
def test_what_cannot_be_read_may_hold_fields(units: list[bytes]) -> None:
    assert may_code_fields(units)


def test_one_set_with_fields_among_several_is_enough() -> None:
    plain, fields = (_unit(BASELINE + "1" + "011" + END + flag) for flag in "10")
    assert may_code_fields([plain, fields]) and not may_code_fields([plain, plain])
