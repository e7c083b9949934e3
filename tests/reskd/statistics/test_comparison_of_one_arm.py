from __future__ import annotations

import numpy as np
import pytest

from reskd.statistics.comparison import BootstrapSettings, arm_intervals
from reskd.statistics.metrics import metrics_of
from reskd.statistics.predictions import Predictions


def run(right: list[bool], groups: list[str] | None = None) -> Predictions:
    """Two classes; a video that is right has its label's score on top."""
    labels_N = np.arange(len(right)) % 2
    logits_NK = np.zeros((len(right), 2), np.float32)
    for row, is_right in enumerate(right):
        logits_NK[row, labels_N[row] if is_right else 1 - labels_N[row]] = 2
    videos = tuple(f"{row:03d}" for row in range(len(right)))
    return Predictions(videos, tuple(groups) if groups else videos, labels_N, logits_NK)


def test_the_interval_of_one_run_is_that_of_a_share_of_independent_videos() -> None:
    """400 videos, 80 % right: 1.96 * sqrt(0.8 * 0.2 / 400) = 3.9 points on each side."""
    found = arm_intervals({0: run([number % 5 > 0 for number in range(400)])})
    assert found["top1"] == pytest.approx((0.761, 0.839), abs=0.006)
    assert set(found) == set(metrics_of(run([True, False])))


def test_videos_of_one_group_count_as_one_and_widen_it() -> None:
    right = [number // 20 % 5 > 0 for number in range(400)]
    groups = [f"g{number // 20}" for number in range(400)]
    low, high = arm_intervals({0: run(right, groups)})["top1"]
    assert (low, high) == pytest.approx((0.62, 0.95), abs=0.04)  # of 20 groups: 17.5 points on each side


def test_seeds_that_differ_widen_it_and_the_order_of_seeds_changes_nothing() -> None:
    worse, better = ([number % 10 < tenths for number in range(400)] for tenths in (6, 9))
    low, high = arm_intervals({3: run(worse), 1: run(better)})["top1"]
    assert low < 0.56 and high > 0.93
    assert arm_intervals({1: run(better), 3: run(worse)})["top1"] == (low, high)


def test_equal_settings_give_equal_intervals() -> None:
    runs = {0: run([True, False, True, True])}
    narrow = BootstrapSettings(confidence=0.5)
    assert arm_intervals(runs) == arm_intervals(runs)
    wide, half = arm_intervals(runs)["top1"], arm_intervals(runs, narrow)["top1"]
    assert wide[0] <= half[0] <= half[1] <= wide[1]
