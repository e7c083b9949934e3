"""Sizes of real files, cut at every part; only lost video counts as missing."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from dali_pipes.scan.container_size import ContainerSize, read_container_size
from tests.dali_pipes.streams import RECIPES, make

FORMATS = {"mpeg4 avi no b": "avi", "h264 mkv": "matroska,webm", "vp9 webm good": "matroska,webm", "h264 ts": "mpegts"}


def read(data: bytes, name: str) -> ContainerSize:
    return read_container_size(io.BytesIO(data), FORMATS[name], 0)


@pytest.mark.parametrize("name", FORMATS)
def test_a_whole_file_misses_nothing_whatever_follows_it(name: str, tmp_path: Path) -> None:
    data = make(RECIPES[name], tmp_path).read_bytes()
    expected = ContainerSize(0, 40 if name.endswith("avi no b") else None)
    for tail in (b"", bytes(3000), b"garbage" * 100):
        assert read(data + tail, name) == expected


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_without_its_end_misses_the_bytes_of_its_last_pictures(name: str, tmp_path: Path) -> None:
    data = make(RECIPES[name], tmp_path).read_bytes()
    for share in (0.6, 0.7, 0.8, 0.9):
        assert read(data[: int(len(data) * share) // 188 * 188 + 100], name).num_missing > 0


def test_an_index_that_is_cut_off_holds_no_video(tmp_path: Path) -> None:
    avi = make(RECIPES["mpeg4 avi no b"], tmp_path).read_bytes()
    assert read(avi[: avi.rindex(b"idx1") + 20], "mpeg4 avi no b") == ContainerSize(0, 40)
    mkv = make(RECIPES["h264 mkv"], tmp_path).read_bytes()
    assert read(mkv[: mkv.rindex(b"\x1c\x53\xbb\x6b") + 8], "h264 mkv") == ContainerSize(0)


def test_a_broken_chunk_makes_the_count_unknown(tmp_path: Path) -> None:
    data = bytearray(make(RECIPES["mpeg4 avi no b"], tmp_path).read_bytes())
    second = data.index(b"00dc", data.index(b"movi") + 8)
    data[second : second + 4] = bytes(4)
    assert read(bytes(data), "mpeg4 avi no b").num_packets is None


def test_an_element_that_is_none_is_where_the_container_is_damaged(tmp_path: Path) -> None:
    data = bytearray(make(RECIPES["vp9 webm good"], tmp_path).read_bytes())
    cluster = data.index(b"\x1f\x43\xb6\x75")
    data[cluster + 4 : cluster + 12] = b"\x01" + (500).to_bytes(7, "big")  # ends among its blocks
    assert read(bytes(data), "vp9 webm good").broken_at == cluster + 512


@pytest.mark.parametrize("name", ["mpegts", "flv", "mov,mp4,m4a,3gp,3g2,mj2", "avi", "matroska,webm"])
@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"\xff" * 100, b"RIFF", bytes(range(256))])
def test_of_what_is_no_container_nothing_is_known(name: str, data: bytes) -> None:
    assert read_container_size(io.BytesIO(data), name, 0).num_missing == 0
