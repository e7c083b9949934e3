"""The metrics of a study, for the videos as they are and for many resamples of them at once; mean and deviation of an
arm.

Note [Metrics of resamples]
A resample of videos is a row of integer weights: how often each video was drawn. Every metric is a ratio of weighted
sums, so matrix products give it for all resamples. For the average precision of a class, let a positive video i have
the score s_i. Its precision is the weight of positives with scores >= s_i over the weight of all videos with scores
>= s_i, and the average precision is the weighted mean of these precisions over the positives. Equal scores share one
threshold, so this is the step-wise average precision of torchmetrics and scikit-learn.

Of one label a video the scores are the float32 softmax, of label sets those of ``rank_scores``, as in
reskd/evaluation/metrics.py, so that ties are the same ones there and here.

Shape letters: N videos, K classes, R resamples, C resamples at once, P positives of a class; L classes of a video's top
list, M = N * L scores of all lists, H hits among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from reskd.evaluation.metrics import label_set_losses, rank_scores
from reskd.evaluation.youtube8m import TopLists, top_lists
from reskd.statistics.predictions import Predictions, check_same_videos

Numbers = NDArray[np.float64]
_RESAMPLES_AT_ONCE = 100


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


_MAP, _LOG_LOSS = Metric("map", "mAP", False, 100, "points", 1), Metric("log_loss", "log loss", True, 1, "nats", 3)
# One label a video and softmax scores. The first one is drawn against costs and over epochs.
METRICS = (
    Metric("top1", "top-1", False, 100, "points", 1),
    _MAP,
    Metric("mean_class_accuracy", "mean class accuracy", False, 100, "points", 1),
    _LOG_LOSS,
)
# Several labels a video, or sigmoid scores.
LABEL_SET_METRICS = (
    Metric("gap", "GAP@20", False, 100, "points", 1),
    _MAP,
    Metric("hit1", "Hit@1", False, 100, "points", 1),
    Metric("perr", "PERR", False, 100, "points", 1),
    _LOG_LOSS,
)


class MeanAndDeviation(NamedTuple):
    """Over seeds. ``deviation`` (n - 1) is None for one seed."""

    mean: float
    deviation: float | None


class ArmSummary(NamedTuple):
    """Mean and deviation of each metric over an arm's seeds, by the metric's name; ``kinds`` are the metrics."""

    metrics: Mapping[str, MeanAndDeviation]
    num_seeds: int
    num_videos: int
    kinds: tuple[Metric, ...] = METRICS


def kinds_of(predictions: Predictions) -> tuple[Metric, ...]:
    """The metrics of these videos, by their labels and scores."""
    return LABEL_SET_METRICS if predictions.is_of_label_sets else METRICS


def metrics_of(predictions: Predictions, weights_N: NDArray[np.int64] | None = None) -> dict[str, float]:
    """The metrics of ``kinds_of``: shares in [0, 1], and log_loss in nats, as an evaluation has them.

    Classes without a video count neither in map nor in mean_class_accuracy. ``map`` is the mean over classes of the
    average precision of the scores. ``log_loss`` of sigmoid scores is the binary cross-entropy, summed over classes and
    averaged over videos; of softmax scores the negative logarithm, averaged over a video's labels.

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
    if predictions.is_of_label_sets:
        return _label_set_metrics(predictions, counts_RN)
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


def _label_set_metrics(predictions: Predictions, counts_RN: NDArray) -> dict[str, Numbers]:
    sets_NK, logits_NK = torch.from_numpy(predictions.as_label_sets()), torch.from_numpy(predictions.logits_NK)
    ranked_NK = rank_scores(logits_NK, predictions.scores)
    lists = top_lists(ranked_NK, sets_NK)
    losses_N = label_set_losses(logits_NK.double(), sets_NK, predictions.scores)
    rights_N = lists.num_right_N.double() / lists.num_labels_N.clamp(min=1)
    of_videos = {"hit1": lists.hits_NL[:, 0], "perr": rights_N, "log_loss": losses_N}
    total_R = counts_RN.sum(axis=1, dtype=np.float64)
    means = {name: counts_RN @ values_N.double().numpy() / total_R for name, values_N in of_videos.items()}
    precisions, present = [], []
    for label in sets_NK.any(dim=0).nonzero().flatten().tolist():
        positives_P = np.flatnonzero(sets_NK[:, label].numpy())
        precisions.append(_average_precision(ranked_NK[:, label].numpy(), positives_P, counts_RN))
        present.append(counts_RN[:, positives_P].any(axis=1))
    num_present_R = np.maximum(np.sum(present, axis=0), 1)
    return {"gap": _pooled_precision(lists, counts_RN), "map": np.sum(precisions, axis=0) / num_present_R, **means}


def _pooled_precision(lists: TopLists, counts_RN: NDArray) -> Numbers:
    """GAP as in ``youtube8m.video_level_metrics``, float64 (R,): a list is in the pool as often as its video was drawn.

    0 where no drawn video has a label.
    """
    scores_M = lists.scores_NL.flatten().numpy()
    order_M = np.argsort(-scores_M, kind="stable")
    videos_M = order_M // lists.scores_NL.shape[1]
    is_hit_M = lists.hits_NL.flatten().numpy()[order_M]
    # Equal scores share the precision after the last of them.
    falling_M = -scores_M[order_M]
    last_H = np.searchsorted(falling_M, falling_M[is_hit_M], side="right") - 1
    num_labels_N, found = lists.num_labels_N.double().numpy(), []
    for counts_CN in np.array_split(counts_RN.astype(np.float64), -(-len(counts_RN) // _RESAMPLES_AT_ONCE)):
        pool_CM = counts_CN[:, videos_M]
        hits_CH = pool_CM[:, is_hit_M]
        passed_CH = pool_CM.cumsum(axis=1)[:, last_H]
        found_CH = (pool_CM * is_hit_M).cumsum(axis=1)[:, last_H]
        sums_C = (hits_CH * found_CH / np.maximum(passed_CH, 1)).sum(axis=1)
        found.append(sums_C / np.maximum(counts_CN @ num_labels_N, 1))
    return np.concatenate(found)


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
    metrics, kinds = {}, kinds_of(ordered[first])
    for metric in kinds:
        values = [one[metric.name] for one in found]
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
        metrics[metric.name] = MeanAndDeviation(float(np.mean(values)), deviation)
    return ArmSummary(metrics, len(ordered), len(ordered[first].videos), kinds)


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
