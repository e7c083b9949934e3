"""The metrics of a study, for the videos as they are and for many resamples of them at once; mean and deviation of an
arm.

Note [Metrics of resamples]
A resample of videos is a row of integer weights: how often each video was drawn. Every metric is a ratio of weighted
sums, so matrix products give it for all resamples. For the average precision of a class, let a positive video i have
the score s_i. Its precision is the weight of positives with scores >= s_i over the weight of all videos with scores
>= s_i, and the average precision is the weighted mean of these precisions over the positives. Equal scores share one
threshold, so this is the step-wise average precision of torchmetrics and scikit-learn.

Scores are the float32 softmax, as in reskd/evaluation/metrics.py, so that ties are the same ones there and here.

Shape letters: N videos, K classes, R resamples, P positives of a class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from reskd.study.statistics.predictions import Predictions, check_same_videos

Numbers = NDArray[np.float64]


class Metric(NamedTuple):
    """How a metric is read and shown.

    Attributes:
        name: the key in results.
        title: for people.
        lower_is_better: as for a loss.
        scale: a shown number is this times the value.
        unit: of a shown difference.
        digits: after the point of a shown number.
    """

    name: str
    title: str
    lower_is_better: bool
    scale: float
    unit: str
    digits: int


METRICS = (
    Metric("top1", "top-1", False, 100, "points", 1),
    Metric("map", "mAP", False, 100, "points", 1),
    Metric("mean_class_accuracy", "mean class accuracy", False, 100, "points", 1),
    Metric("log_loss", "log loss", True, 1, "nats", 3),
)


class MeanAndDeviation(NamedTuple):
    """Over seeds. ``deviation`` (n - 1) is None for one seed."""

    mean: float
    deviation: float | None


class ArmSummary(NamedTuple):
    """Mean and deviation of each metric over an arm's seeds, by the metric's name."""

    metrics: Mapping[str, MeanAndDeviation]
    num_seeds: int
    num_videos: int


def metrics_of(predictions: Predictions, weights_N: NDArray[np.int64] | None = None) -> dict[str, float]:
    """top1, map and mean_class_accuracy in [0, 1], and log_loss in nats.

    Classes without a video count neither in map nor in mean_class_accuracy. ``map`` is the mean over classes of the
    average precision of softmax scores.

    Args:
        weights_N: how often each video counts; None: once.

    Raises:
        ValueError: weights of another shape or type, below zero, or all zero.
    """
    weights = np.ones(len(predictions.videos), np.int64) if weights_N is None else weights_N
    return {name: float(values_R[0]) for name, values_R in resampled_metrics(predictions, weights[None]).items()}


def resampled_metrics(predictions: Predictions, weights_RN: NDArray[np.int64]) -> dict[str, Numbers]:
    """As ``metrics_of``, for each row of weights; float64 (R,). See Note [Metrics of resamples]."""
    _check_weights(weights_RN, len(predictions.videos))
    # float32 counts exactly up to 2^24, and its matrix products take half the time.
    counts_RN = weights_RN.astype(np.float32 if weights_RN.sum(axis=1).max() < 2**24 else np.float64)
    logits_NK = torch.from_numpy(predictions.logits_NK)
    scores_NK = logits_NK.softmax(dim=1).numpy()
    log_scores_NK = logits_NK.double().log_softmax(dim=1).numpy()
    labels_N = predictions.labels_N
    correct_N = scores_NK.argmax(axis=1) == labels_N
    total_R = weights_RN.sum(axis=1)
    precisions, accuracies, present = [], [], []
    for label in np.unique(labels_N):
        positives_P = np.flatnonzero(labels_N == label)
        weights_RP = counts_RN[:, positives_P]
        weight_R = weights_RP.sum(axis=1, dtype=np.float64)
        precisions.append(_average_precision(scores_NK[:, label], positives_P, counts_RN))
        accuracies.append(weights_RP @ correct_N[positives_P].astype(np.float64) / np.maximum(weight_R, 1))
        present.append(weight_R > 0)
    num_present_R = np.sum(present, axis=0)
    return {
        "top1": weights_RN @ correct_N.astype(np.int64) / total_R,
        "map": np.sum(precisions, axis=0) / num_present_R,
        "mean_class_accuracy": np.sum(accuracies, axis=0) / num_present_R,
        "log_loss": -(counts_RN @ log_scores_NK[np.arange(len(labels_N)), labels_N]) / total_R,
    }


def summarize_arm(runs: Mapping[int, Predictions]) -> ArmSummary:
    """Mean and standard deviation (n - 1) of each metric over the seeds.

    Args:
        runs: seed -> the seed's predictions, joined over its splits.

    Raises:
        ValueError: no seed, or two seeds with other videos.
    """
    if not runs:
        raise ValueError("expected at least one finished run of an arm, found none; run the study first.")
    ordered = {seed: runs[seed].sorted_by_video() for seed in sorted(runs)}
    first, *others = ordered
    for seed in others:
        check_same_videos(ordered[first], ordered[seed], names=(f"seed {first}", f"seed {seed}"))
    found = [metrics_of(predictions) for predictions in ordered.values()]
    metrics = {}
    for metric in METRICS:
        values = [one[metric.name] for one in found]
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
        metrics[metric.name] = MeanAndDeviation(float(np.mean(values)), deviation)
    return ArmSummary(metrics, len(ordered), len(ordered[first].videos))


def _average_precision(scores_N: NDArray[np.float32], positives_P: NDArray[np.intp], counts_RN: NDArray) -> Numbers:
    """float64 (R,); 0 where a resample has no positive."""
    reaches_NP = (scores_N[:, None] >= scores_N[None, positives_P]).astype(counts_RN.dtype)
    weights_RP = counts_RN[:, positives_P].astype(np.float64)
    hits_RP = counts_RN[:, positives_P] @ reaches_NP[positives_P]
    precision_RP = hits_RP / np.maximum(counts_RN @ reaches_NP, 1, dtype=np.float64)
    return (weights_RP * precision_RP).sum(axis=1) / np.maximum(weights_RP.sum(axis=1), 1)


def _check_weights(weights_RN: NDArray[np.int64], num_videos: int) -> None:
    if weights_RN.ndim != 2 or weights_RN.shape[1] != num_videos or not np.issubdtype(weights_RN.dtype, np.integer):
        raise ValueError(
            f"expected an integer weight for each of {num_videos} videos, found {weights_RN.dtype} of "
            f"{weights_RN.shape = }; count how often each video was drawn."
        )
    if (weights_RN < 0).any() or not weights_RN.any(axis=1).all():
        raise ValueError(
            "expected weights of zero and more, and not all zero, found others; count how often each video was drawn."
        )
