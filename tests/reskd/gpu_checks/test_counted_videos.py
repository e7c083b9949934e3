from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest

from reskd.gpu_checks.counted_videos import ENCODINGS, counted_frames, encodings_of, read_count, write_counted

SHORT = 40


@pytest.mark.parametrize("name", ENCODINGS)
def test_numbers_survive_the_codec(name: str, tmp_path: Path) -> None:
    encoding = ENCODINGS[name]
    if name not in encodings_of(encoding.codec):
        pytest.skip(f"no encoder {encoding.kind.codec}")
    path = tmp_path / f"video{encoding.kind.suffix}"
    policy = os.sched_getscheduler(0)
    write_counted(path, encoding, 144, 212, num_frames=SHORT)
    assert os.sched_getscheduler(0) == policy  # SVT-AV1 asks for real time
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name in (encoding.codec, "libdav1d")
        numbers = [read_count(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert numbers == list(range(SHORT))


def test_the_largest_number_is_255() -> None:
    *_, last = counted_frames(32, 200, 256)
    assert last.dtype == np.uint8 and read_count(last) == 255


def test_open_gops_hold_frames_that_are_shown_before_their_keyframe(tmp_path: Path) -> None:
    path = tmp_path / "open.mp4"
    write_counted(path, ENCODINGS["h264 open GOPs"], 64, 200, num_frames=60)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    second = [number for number, packet in enumerate(packets) if packet.is_keyframe][1]
    assert any(packet.pts < packets[second].pts for packet in packets[second:])
