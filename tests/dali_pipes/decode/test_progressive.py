"""The RGB of a frame does not depend on its interlaced flag."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from dali_pipes.decode.progressive import as_progressive
from dali_pipes.decode.pyav import Window, color_names, decode_frames, decode_packets, to_rgb
from dali_pipes.packets.packet_index import read_packets, select
from dali_pipes.scan.probe import probe
from tests.dali_pipes.streams import RECIPES, Recipe, make

INTERLACED = {
    "h264": RECIPES["h264 mp4 interlaced"],
    "bt709": RECIPES["h264 mp4 interlaced"]._replace(color=(1, 1)),
    "full range": RECIPES["h264 mp4 interlaced"]._replace(pix_fmt="yuvj420p"),
    "10 bit": RECIPES["h264 mp4 interlaced"]._replace(pix_fmt="yuv420p10le"),
    "mpeg2": Recipe(".mpg", "mpeg2video", {"g": "12", "bf": "2", "flags": "+ildct+ilme"}),
}


def _first_frame(path: Path) -> VideoFrame:
    with av.open(str(path)) as container:
        return next(container.decode(video=0))


@pytest.mark.parametrize("name", INTERLACED)
def test_only_the_flag_changes(name: str, tmp_path: Path) -> None:
    frame = _first_frame(make(INTERLACED[name], tmp_path))
    assert frame.interlaced_frame
    progressive = as_progressive(frame)
    assert not progressive.interlaced_frame
    assert progressive.format.name == frame.format.name and color_names(progressive) == color_names(frame)
    assert (progressive.pts, progressive.time_base) == (frame.pts, frame.time_base)
    assert np.array_equal(progressive.to_ndarray(), frame.to_ndarray())


def test_a_progressive_frame_is_not_copied(tmp_path: Path) -> None:
    frame = _first_frame(make(RECIPES["h264 mp4 b"], tmp_path))
    assert as_progressive(frame) is frame


def test_equal_planes_give_equal_pixels(tmp_path: Path) -> None:
    frame = _first_frame(make(INTERLACED["h264"], tmp_path))
    planes = VideoFrame.from_ndarray(frame.to_ndarray(), format=frame.format.name)
    size = {"width": frame.width, "height": frame.height}
    assert np.array_equal(to_rgb(frame, **size), to_rgb(planes, **size))


def _pulldown(folder: Path) -> Path:
    """Progressive H.264 whose picture timing tells of fields, as films on television have it: 2, 3, 2, 3 fields."""
    options = {**RECIPES["h264 mp4 no b"].options, "g": "5", "x264-params": "pic-struct=1"}
    path = make(RECIPES["h264 mp4 no b"]._replace(options=options), folder)
    content, message = path.read_bytes(), b"\x06\x01\x01"
    parts = content.split(message + b"\x04\x80")
    assert len(parts) == 41
    timings = cycle((b"\x42", b"\x61", b"\x32", b"\x51"))
    path.write_bytes(parts[0] + b"".join(message + next(timings) + b"\x80" + part for part in parts[1:]))
    return path


def test_selected_packets_give_the_pixels_of_the_whole_file_where_the_flag_depends_on_earlier_ones(
    tmp_path: Path,
) -> None:
    path = _pulldown(tmp_path)
    with av.open(str(path)) as container:
        assert {frame.interlaced_frame for frame in container.decode(video=0)} == {False, True}
    found, index = probe(path)
    assert index is not None, found.whole_file
    window = Window((0, 0, found.height, found.width), 0, found.width, found.height)
    whole = decode_frames(path, np.arange(found.num_frames), window)
    for number in range(found.num_frames):
        selection = select(index.packets_P, np.array([number]), may_flush=True)
        with path.open("rb") as file:
            (picture,) = decode_packets(index.codec_header, read_packets(file, selection), selection, window)
        assert np.array_equal(picture, whole[number]), number
