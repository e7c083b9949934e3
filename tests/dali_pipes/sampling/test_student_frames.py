from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from dali_pipes.choices import FrameSelection
from dali_pipes.sampling.spec import student_frames
from dali_pipes.sampling.student_frames import select_frames

SELECTIONS = get_args(FrameSelection)


@pytest.mark.parametrize(
    ("selection", "k", "n", "expected"),
    [
        ("uniform", 3, 8, [0, 2, 5]),
        ("uniform", 1, 8, [0]),
        ("first", 3, 8, [0, 1, 2]),
        ("middle", 3, 8, [2, 3, 4]),
        ("middle", 2, 8, [3, 4]),
        ("last", 3, 8, [5, 6, 7]),
        ("first_middle_last", 3, 9, [0, 4, 8]),
        ("first_middle_last", 6, 12, [0, 1, 5, 6, 10, 11]),
        ("first_middle_last", 4, 12, [0, 5, 6, 11]),  # one left over: to the middle
        ("first_middle_last", 5, 12, [0, 1, 5, 10, 11]),  # two left over: one to each end
        ("first_middle_last", 1, 9, [4]),
        ("first_middle_last", 2, 9, [0, 8]),
        ("first_middle_last", 8, 9, [0, 1, 2, 3, 4, 6, 7, 8]),
        ("every_jth_of_300", 6, 300, [0, 50, 100, 150, 200, 250]),
        ("every_jth_of_300", 6, 120, [0, 50]),
        ("every_jth_of_300", 30, 9, [0]),
        ("every_jth_of_300", 7, 300, [0, 42, 84, 126, 168, 210, 252]),
        ("every_jth_of_300", 400, 5, [0, 1, 2, 3, 4]),
    ],
)
def test_selections_by_hand(selection: FrameSelection, k: int, n: int, expected: list[int]) -> None:
    assert select_frames(selection, k, n).tolist() == expected


@pytest.mark.parametrize("selection", SELECTIONS)
def test_any_k_of_any_n_gives_rising_frames_of_the_video_none_twice(selection: FrameSelection) -> None:
    for n in (0, 1, 2, 3, 5, 9, 10, 31, 300, 310):
        for k in (*range(1, 12), 29, 30, 31, 299, 300, 301):
            found = select_frames(selection, k, n, key=(1, 2))
            assert found.dtype == np.int64
            assert (np.diff(found) > 0).all()
            assert len(found) == 0 or (found[0] >= 0 and found[-1] < n)
            if selection != "every_jth_of_300":
                assert len(found) == min(k, n)


@pytest.mark.parametrize("k", [6, 10, 15, 20, 30])
def test_every_jth_keeps_as_many_frames_as_the_released_code(k: int) -> None:
    """Its length is int(n / 300 * k), train.py line 264; it keeps none of a video of fewer than 300 / k frames."""
    for n in range(1, 301):
        assert len(select_frames("every_jth_of_300", k, n)) == max(1, int(n / 300 * k))


def test_uniform_is_the_rule_of_pixels() -> None:
    for n in range(1, 40):
        for k in range(1, n + 1):
            assert select_frames("uniform", k, n).tolist() == student_frames(k, n)


def test_random_depends_on_its_key_alone_and_shows_every_frame_equally_often() -> None:
    assert select_frames("random", 4, 20, key=(7, 3)).tolist() == select_frames("random", 4, 20, key=(7, 3)).tolist()
    drawn = [tuple(select_frames("random", 4, 20, key=(7, number))) for number in range(500)]
    assert len(set(drawn)) > 400
    counts = np.bincount(np.concatenate(drawn), minlength=20)
    assert counts.min() > 65 and counts.max() < 135  # 100 expected, standard deviation 9


@pytest.mark.parametrize(("selection", "k", "n"), [("uniform", 0, 5), ("first", 1, -1), ("every_second", 1, 5)])
def test_impossible_requests_are_refused(selection: FrameSelection, k: int, n: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        select_frames(selection, k, n)
