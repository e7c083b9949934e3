from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch

from reskd.evaluation.metrics import classification_metrics, multi_label_metrics
from reskd.losses.task import sigmoid_bce
from reskd.statistics.metrics import LABEL_SET_METRICS, METRICS, metrics_of, resampled_metrics, summarize_arm
from reskd.statistics.predictions import Predictions


def predictions(labels: list[int], scores: list[list[float]]) -> Predictions:
    """With these softmax scores."""
    videos = tuple(f"{row}.mp4" for row in range(len(labels)))
    return Predictions(videos, videos, np.array(labels), np.log(np.array(scores, np.float32)))


def drawn(num_videos: int, num_classes: int, *, levels: int = 0) -> Predictions:
    """Random ones; with ``levels``, so few different logits that many scores are equal."""
    generator = np.random.default_rng(num_videos)
    logits_NK = generator.normal(size=(num_videos, num_classes)).astype(np.float32)
    if levels:
        logits_NK = generator.integers(levels, size=(num_videos, num_classes)).astype(np.float32)
    videos = tuple(map(str, range(num_videos)))
    return Predictions(videos, videos, generator.integers(num_classes, size=num_videos), logits_NK)


# Scores of class 1 in falling order: 0.8 (right), 0.6 (wrong), 0.4 (right), 0.3 (wrong).
FOUR = predictions([1, 0, 1, 0], [[0.2, 0.8], [0.4, 0.6], [0.6, 0.4], [0.7, 0.3]])


def test_four_videos_by_hand() -> None:
    found = metrics_of(FOUR)
    # Class 1: 1/2 * 1/1 + 1/2 * 2/3. Class 0 (scores 0.7 right, 0.6 wrong, 0.4 right, 0.2 wrong): the same.
    assert found == pytest.approx(
        {
            "top1": 2 / 4,
            "map": 5 / 6,
            "mean_class_accuracy": 1 / 2,
            "log_loss": -(math.log(0.8) + math.log(0.4) + math.log(0.4) + math.log(0.7)) / 4,
        }
    )


def test_weights_by_hand() -> None:
    found = metrics_of(FOUR, np.array([3, 1, 1, 0]))
    # Class 1: 3/4 * 3/3 + 1/4 * 4/5. Class 0: its video stands behind the one with 0.6, so 1/2.
    assert found == pytest.approx(
        {
            "top1": 3 / 5,
            "map": (0.95 + 0.5) / 2,
            "mean_class_accuracy": (3 / 4 + 0) / 2,
            "log_loss": -(3 * math.log(0.8) + math.log(0.4) + math.log(0.4)) / 5,
        }
    )


def test_equal_scores_are_one_threshold() -> None:
    tied = predictions([1, 0, 1], [[0.25, 0.75], [0.5, 0.5], [0.5, 0.5]])
    # Class 1: 1/2 * 1 + 1/2 * 2/3, whichever of the two comes first. Class 0: 1/2.
    assert metrics_of(tied)["map"] == pytest.approx((5 / 6 + 1 / 2) / 2)


def test_a_class_without_a_video_counts_in_no_mean() -> None:
    found = metrics_of(FOUR, np.array([1, 0, 1, 0]))
    assert found["map"] == 1
    assert found["mean_class_accuracy"] == 0.5


@pytest.mark.parametrize("levels", [0, 3])
@pytest.mark.parametrize(("num_videos", "num_classes"), [(1, 2), (7, 5), (200, 10)])
def test_without_weights_the_metrics_are_those_of_an_evaluation(num_videos: int, num_classes: int, levels: int) -> None:
    given = drawn(num_videos, num_classes, levels=levels)
    expected = classification_metrics(torch.from_numpy(given.logits_NK), torch.from_numpy(given.labels_N))
    found = metrics_of(given)
    assert {name: found[name] for name in ("top1", "map", "mean_class_accuracy")} == pytest.approx(
        {name: expected[name] for name in ("top1", "map", "mean_class_accuracy")}, abs=1e-6
    )
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(given.logits_NK), torch.from_numpy(given.labels_N))
    assert found["log_loss"] == pytest.approx(loss.item(), rel=1e-5)


@pytest.mark.parametrize("levels", [0, 3])
def test_a_weight_is_a_number_of_equal_videos(levels: int) -> None:
    given = drawn(50, 4, levels=levels)
    weights_RN = np.random.default_rng(1).integers(4, size=(5, 50))
    found = resampled_metrics(given, weights_RN)
    for resample, weights_N in enumerate(weights_RN):
        rows = np.repeat(np.arange(50), weights_N)
        expected = classification_metrics(
            torch.from_numpy(given.logits_NK[rows]), torch.from_numpy(given.labels_N[rows])
        )
        for name in ("top1", "map", "mean_class_accuracy"):
            assert found[name][resample] == pytest.approx(expected[name], abs=1e-6)


def test_saturated_scores_are_tied_as_in_an_evaluation() -> None:
    logits_NK = np.array([[0, 40], [0, 60], [0, 50], [3, 0]], np.float32)
    given = Predictions(("a", "b", "c", "d"), ("a", "b", "c", "d"), np.array([1, 0, 1, 0]), logits_NK)
    expected = classification_metrics(torch.from_numpy(logits_NK), torch.from_numpy(given.labels_N))
    assert metrics_of(given)["map"] == pytest.approx(expected["map"])
    assert metrics_of(given)["log_loss"] == pytest.approx((60 + math.log(1 + math.exp(-3))) / 4)


# Scores in falling order: 3 (a, right), 2 (b, wrong), 1 (a, right), 0 (b, right), -1, -2.
TWO = Predictions(
    ("a", "b"),
    ("a", "b"),
    np.array([0, 2]),
    np.array([[3, 1, -1], [-2, 2, 0]], np.float32),
    np.array([[True, True, False], [False, False, True]]),
    "sigmoid",
)


def test_label_sets_by_hand() -> None:
    losses = [math.log1p(math.exp(x)) for x in (-3, -1, -1, -2, 2, 0)]
    expected = {
        "gap": (1 + 2 / 3 + 3 / 4) / 3,
        "map": (1 + 1 / 2 + 1) / 3,  # a is second in class 1
        "hit1": 1 / 2,
        "perr": (2 / 2 + 0 / 1) / 2,
        "log_loss": sum(losses) / 2,
    }
    assert metrics_of(TWO) == pytest.approx(expected)
    # The pool has the scores of a three times: 3 and 3 of 3, 6 of 7 at its second label, 7 of 8 at b's.
    found = metrics_of(TWO, np.array([3, 1]))
    assert found["gap"] == pytest.approx((3 * 1 + 3 * 6 / 7 + 7 / 8) / 7)
    assert found["map"] == pytest.approx((1 + 3 / 4 + 1) / 3)
    assert found["perr"] == pytest.approx(3 / 4)


@pytest.mark.parametrize("levels", [0, 3])
@pytest.mark.parametrize("scores", ["sigmoid", "softmax"])
@pytest.mark.parametrize("num_classes", [4, 30])
def test_a_weight_is_a_number_of_equal_videos_with_label_sets(
    num_classes: int, scores: Literal["sigmoid", "softmax"], levels: int
) -> None:
    plain = drawn(50, num_classes, levels=levels)
    sets_NK = np.random.default_rng(2).random((50, num_classes)) < 0.1
    given = replace(plain, label_sets_NK=sets_NK, scores=scores)
    weights_RN = np.random.default_rng(1).integers(4, size=(3, 50))
    found = resampled_metrics(given, weights_RN)
    assert found.keys() == {metric.name for metric in LABEL_SET_METRICS}
    for resample, weights_N in enumerate(weights_RN):
        rows = np.repeat(np.arange(50), weights_N)
        logits_NK, sets = torch.from_numpy(given.logits_NK[rows]), torch.from_numpy(sets_NK[rows])
        expected = multi_label_metrics(logits_NK, sets, scores=scores)
        for name in ("gap", "map", "hit1", "perr"):
            assert found[name][resample] == pytest.approx(expected[name], abs=1e-6)
        if scores == "sigmoid":
            assert found["log_loss"][resample] == pytest.approx(sigmoid_bce(logits_NK, sets).item(), rel=1e-5)


@pytest.mark.parametrize(
    ("weights_N", "message"),
    [
        (np.ones(3, np.int64), "an integer weight for each of 4 videos, found int64"),
        (np.ones(4), "an integer weight for each of 4 videos, found float64"),
        (np.zeros(4, np.int64), "not all zero"),
        (np.array([1, -1, 1, 1]), "zero and more"),
    ],
)
def test_other_weights_are_refused(weights_N: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics_of(FOUR, weights_N)


def test_an_arm_has_the_mean_and_deviation_of_its_seeds() -> None:
    right = predictions([1, 0], [[0.1, 0.9], [0.9, 0.1]])
    half = predictions([1, 0], [[0.1, 0.9], [0.2, 0.8]])
    found = summarize_arm({7: right, 3: half})
    assert found.metrics["top1"] == pytest.approx((0.75, math.sqrt(0.125)))
    assert (found.num_seeds, found.num_videos) == (2, 2)
    assert set(found.metrics) == {metric.name for metric in METRICS}
    assert summarize_arm({7: right}).metrics["top1"] == (1, None)


def test_an_arm_of_no_run_or_of_other_videos_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one finished run"):
        summarize_arm({})
    with pytest.raises(ValueError, match="same test videos for seed 0 and seed 1"):
        summarize_arm({0: FOUR, 1: predictions([1], [[0.1, 0.9]])})
