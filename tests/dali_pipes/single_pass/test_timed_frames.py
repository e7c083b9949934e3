"""Times always increase, whatever the timestamps do."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from dali_pipes.single_pass.timed_frames import Timeline, timed_frames


def times(stamps: Sequence[int | None], rate: int | None = 25) -> tuple[list[float], Timeline]:
    stream: Any = SimpleNamespace(average_rate=Fraction(rate) if rate else None, guessed_rate=None)
    timeline = Timeline(stream)
    frames: Any = [SimpleNamespace(pts=stamp, time_base=Fraction(1, 100)) for stamp in stamps]
    return [timeline.begin(frame) for frame in frames], timeline


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([700, 710, 790, 791], [0, 0.1, 0.9, 0.91]),
        ([None, None, None], [0, 0.04, 0.08]),
        ([700, 710, None, 730], [0, 0.1, 0.2, 0.3]),
        ([None, 700, 720], [0, 0.04, 0.24]),
        ([9000, 9010, 0, 20], [0, 0.1, 0.2, 0.4]),  # the clock wraps
        ([0, 10, 10, 20], [0, 0.1, 0.1001, 0.2]),  # repeated
        ([4, 8, 16, 12, 20, 28, 24], [0, 0.04, 0.12, 0.1201, 0.16, 0.24, 0.2401]),  # in the order of decoding
        ([0, 10, *[0] * 16, 4], [0, 0.1, *(0.1 + n / 10_000 for n in range(1, 16)), 0.2015, 0.2415]),  # joined
        ([0, 10, 10_000_000, 10_000_010], [0, 0.1, 0.2, 0.3]),  # a day later
        ([0, 10, 30_010, 30_020], [0, 0.1, 300.1, 300.2]),  # a long slide
    ],
)
def test_times(stamps: Sequence[int | None], expected: Sequence[float]) -> None:
    found, timeline = times(stamps)
    assert found == pytest.approx(expected)
    assert timeline.end_s > found[-1]


def test_a_stream_without_a_rate_has_a_usual_step() -> None:
    assert times([None, None], rate=None)[0] == pytest.approx([0, 1 / 25])


def test_an_avi_with_reordered_frames_lasts_as_long_as_its_frames(tmp_path: Path) -> None:
    path = tmp_path / "reordered.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"bf": "2"})
        stream.width = stream.height = 64
        for number in range(30):
            picture = np.full((64, 64, 3), 8 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        found = [timed.begin_s for timed in timed_frames(container, stream, Timeline(stream))]
    assert found == pytest.approx([number / 25 for number in range(30)])
