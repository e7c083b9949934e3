"""Both of the paper's ways to show a student a test frame, each by its setting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import SHARED_DATA
from tests.reskd.experiment.student_paths import (
    CODE,
    ROUNDING,
    TEXT,
    TWO_PATHS,
    compare,
    difference,
    frames_of,
    ours,
    papers_code,
    papers_text,
    path_config,
)

UCF10 = SHARED_DATA / "ucf10"


def _picture(height: int, width: int) -> np.ndarray:
    """Waves that get finer to the right, and noise: uint8 (height, width, 3)."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    waves = 128 + 80 * np.sin(x * x / width / 3) + 30 * np.cos(y / 7)
    noise = np.random.default_rng(0).normal(0, 6, (height, width, 3))
    return (waves[..., None] + noise).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(128, 170), (512, 680), (1024, 1360)])
def test_each_setting_is_the_path_it_is_named_for(size: tuple[int, int]) -> None:
    """At sizes where MMAction2's crops lie exactly in the middle too."""
    frame = _picture(*size)
    through = ours(frame, path_config("teacher_view"))["student"]
    decoded = ours(frame, path_config("decoded"))["student"]
    assert through.shape == decoded.shape == (112, 112, 3)
    assert difference([(through, papers_code(frame))]).rms <= 0.5, "rounding, and borders where it is enlarged"
    assert difference([(decoded, papers_text(frame))]).largest <= 1
    assert difference([(through, decoded)]).rms > 1


def test_at_256_lines_both_paths_are_one_and_nothing_but_rounding_is_left() -> None:
    """Half the size is the mean of 2 x 2 either way: rounding a quarter's multiples gives rms sqrt(3 / 32)."""
    frame = _picture(256, 340)
    found = compare([frame])
    assert found[TWO_PATHS] == (0, 0, 0)
    assert found[TEXT] == (0, 0, 0)
    assert found[CODE] == found[ROUNDING]
    assert found[ROUNDING].largest == 0.5
    assert found[ROUNDING].rms == pytest.approx((3 / 32) ** 0.5, rel=0.02)


def test_the_larger_the_frame_the_further_apart_the_paths() -> None:
    small, large = (compare([_picture(height, height * 5 // 4)]) for height in (320, 960))
    assert 3 * small[ROUNDING].rms < small[TWO_PATHS].rms < large[TWO_PATHS].rms
    assert large[ROUNDING].rms < 0.32


def test_real_frames_agree_with_the_papers_paths() -> None:
    videos = sorted(Path(UCF10).rglob("*.avi"))[::80]
    if not videos:
        pytest.skip("the ten classes of UCF101 are not here")
    found = compare(list(frames_of(videos, each=1)))
    assert found[ROUNDING].largest <= 0.51
    for title in (CODE, TEXT):
        assert found[f"{title}, cut to 5:4"].rms < 1 < found[TWO_PATHS].rms
