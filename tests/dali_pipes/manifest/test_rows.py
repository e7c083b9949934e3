"""Rows follow from the facts; their columns are those of manifest schema 4, in this order."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dali_pipes.annotations.lists import LabeledVideo
from dali_pipes.manifest.manifest import SCHEMA_VERSION, Manifest
from dali_pipes.manifest.rows import ROW, to_facts, to_rows
from dali_pipes.video_info import PacketLocation, VideoInfo
from tests.dali_pipes.made_video_info import make_video_info

SCHEMA_5 = [
    ("label", "<i4"),
    ("num_frames", "<i4"),
    ("num_packets", "<i4"),
    ("width", "<i4"),
    ("height", "<i4"),
    ("rotation", "<i2"),
    ("cut", "?"),
    ("decoded", "?"),
    ("variable_rate", "?"),
    ("codec", "S16"),
    ("pix_fmt", "S16"),
    ("matrix", "S12"),
    ("colour_range", "S8"),
    ("file_size", "<i8"),
    ("mtime_ns", "<i8"),
    ("path_end", "<i8"),
    ("label_end", "<i8"),
    ("part", "<i2"),
    ("packets_at", "<i8"),
    ("stub_at", "<i8"),
    ("stub_size", "<i4"),
    ("start", "<i8"),
    ("mirrored", "?"),
    ("pixel_width", "<i4"),
    ("pixel_height", "<i4"),
    ("stream", "<i2"),
    ("num_video_streams", "<i2"),
    ("coded_width", "<i4"),
    ("coded_height", "<i4"),
    ("interlaced", "?"),
]
# Names and dtypes as a hash, which no renaming of words changes in step with the code.
DTYPE_HASH = "7615998c3b3aedb8"
CONTENT_HASH = "2a7b09fec424e264a0dfc67321ae363d8f2848c1349c0da109791e3d96e4e233"
ROWS_HASH = "95a11bf42841fdda13f802735b01d90294018bf22b9fd2d576f4bf0567693997"


def _video_info() -> dict[str, VideoInfo]:
    indexed = make_video_info(whole_file="", packets=PacketLocation(Path("one.packets"), 530, 0, 529))
    shape = {
        "pixel_width": 2_147_483_647,
        "pixel_height": 1_073_741_823,
        "stream": 3,
        "num_video_streams": 2,
        "coded_width": 144,
        "interlaced": True,
    }
    other = {"codec": "mjpeg", "matrix": "bt601", "color_range": "full", "variable_rate": True, "file_size": 2**40}
    return {
        "a/0.mp4": indexed,
        "a/1.mp4": make_video_info(num_frames=20, rotation=270, health="cut: it ends early", num_frames_source="demux"),
        "b/2.avi": replace(
            indexed, **other, **shape, start=7, packets=PacketLocation(Path("two.packets"), 12, 3, 4), mirrored=True
        ),
        "b/3.mp4": VideoInfo.bad("does not open", size=9),
    }


def _manifest() -> Manifest:
    labels = {"a/0.mp4": (0,), "a/1.mp4": (0, 1), "b/2.avi": (1,), "b/3.mp4": (1,)}
    videos = [LabeledVideo(path, own, path) for path, own in labels.items()]
    return Manifest.from_video_info(Path("root"), ["a", "b"], videos, _video_info())


def test_rows_are_those_of_schema_5() -> None:
    assert SCHEMA_VERSION == 5 and np.dtype(SCHEMA_5) == ROW
    assert hashlib.sha256(str(ROW.descr).encode()).hexdigest()[:16] == DTYPE_HASH
    manifest = _manifest()
    assert hashlib.sha256(manifest.rows.tobytes()).hexdigest() == ROWS_HASH
    assert manifest.content_hash == CONTENT_HASH


def test_a_row_gives_back_its_facts_but_for_reasons() -> None:
    video_info = [found for found in _video_info().values() if found.usable]
    rows, parts = to_rows(video_info)
    assert parts == (Path("one.packets"), Path("two.packets"))
    expected = [video_info[0], replace(video_info[1], health="cut"), video_info[2]]
    assert [to_facts(row, parts) for row in rows] == expected


def test_a_number_that_is_too_large_for_its_column_is_refused() -> None:
    with pytest.raises(OverflowError):
        to_rows([make_video_info(num_frames=2**31)])
