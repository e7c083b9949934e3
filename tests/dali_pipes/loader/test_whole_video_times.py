"""Which frames a rate takes: hand-worked, and from containers with even, uneven and no times."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from dali_pipes.loader.whole_video import FrameTimes, even_times, frames_at_rate, read_frame_times
from tests.conftest import numbered_clip, picture

# Note [Which frame shows at a time]; the last frame is shown for 0.4 s.
UNEVEN = FrameTimes(np.array([0.0, 0.4, 0.5, 2.6]), 3.0)


def write_at(path: Path, milliseconds: Sequence[int]) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=1000)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, at in enumerate(milliseconds):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = at, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("times", "rate", "frames"),
    [
        (UNEVEN, 1, [0, 2]),  # 0 s: 0; 1 s and 2 s: 2
        (UNEVEN, 2, [0, 2]),  # 0.5 s begins frame 2, and 2.5 s still shows it; at 3 s the video has ended
        (UNEVEN, 1000, [0, 1, 2, 3]),
        (FrameTimes(UNEVEN.begin_M, 3.1), 1, [0, 2, 3]),
        (even_times(5, 25.0), 25, [0, 1, 2, 3, 4]),
        (even_times(5, 25.0), 12.5, [0, 2, 4]),
        (even_times(1, 25.0), 1, [0]),
        (even_times(300, 30000 / 1001), 30000 / 1001, list(range(300))),
        (even_times(60, 30000 / 1001), 1, [0, 29, 59]),  # 1 s lies before frame 30, 1.001 s
        (even_times(25, 25.0), 0.01, [0]),
        (even_times(25, 25.0), 0.0005, [0]),
        (even_times(5000, 25.0), 0.01, [0, 2500]),  # 0 s and 100 s
        (FrameTimes(np.array([0.0, 99.9995, 110.0]), 120.0), 0.01, [0, 1]),
        (FrameTimes(np.array([0.0, 100.0005, 110.0]), 120.0), 0.01, [0, 1]),  # a tick of a millisecond too late
        (FrameTimes(np.array([0.0, 100.01, 110.0]), 120.0), 0.01, [0]),
        (FrameTimes(np.array([0.0, 0.0005, 2.0]), 3.0), 1, [0, 1, 2]),  # frame 1 is on the screen at 1 s
        (FrameTimes(np.array([0.0]), 0.0), 1, [0]),
    ],
)
def test_a_rate_takes_the_frames_on_the_screen(times: FrameTimes, rate: float, frames: list[int]) -> None:
    assert frames_at_rate(times, rate, most=300).tolist() == frames


def test_a_frame_is_taken_once_and_no_more_than_the_most() -> None:
    assert frames_at_rate(even_times(100, 10.0), 1000.0, most=7).tolist() == list(range(7))


def test_a_last_time_stamp_far_away_costs_no_memory() -> None:
    times = FrameTimes(np.array([0.0, 1.0, 1e12]), 1e12 + 1)
    assert frames_at_rate(times, 30.0, most=300).tolist() == [0, 1, 2]


def test_uneven_times_are_kept(tmp_path: Path) -> None:
    times = read_frame_times(write_at(tmp_path / "a.mp4", [0, 400, 500, 2600]), 4)
    assert times.begin_M == pytest.approx([0, 0.4, 0.5, 2.6])
    assert frames_at_rate(times, 1, most=300).tolist()[:2] == [0, 2]


def test_b_frames_are_timed_by_when_they_show(tmp_path: Path) -> None:
    times = read_frame_times(numbered_clip(tmp_path / "a.mp4", "libx264", 30), 30)
    assert times.begin_M == pytest.approx(np.arange(30) / 25)
    assert times.end == pytest.approx(30 / 25)


def test_an_avi_without_times_has_its_mean_rate(tmp_path: Path) -> None:
    times = read_frame_times(numbered_clip(tmp_path / "a.avi", "mpeg4", 30), 30)
    assert times.begin_M == pytest.approx(np.arange(30) / 25)


def test_frames_that_the_packets_do_not_tell_of_come_at_the_mean_rate(tmp_path: Path) -> None:
    path = write_at(tmp_path / "a.mp4", [0, 400, 500, 2600])
    assert len(read_frame_times(path, 9).begin_M) == 9
    assert read_frame_times(path, 3).begin_M == pytest.approx([0, 0.4, 0.5])  # the scan found the fourth damaged
