"""Accuracies of a list of clips, from torchmetrics. Shape letters: N clips, K classes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torchmetrics.functional.classification import (
    binary_average_precision,
    multiclass_accuracy,
    multiclass_average_precision,
)

Scores = Literal["softmax", "sigmoid"]


def metrics_of(
    logits_NK: Tensor, labels_N: Tensor, label_sets_NK: Tensor | None, *, scores: Scores
) -> dict[str, float]:
    """``multi_label_metrics`` where the list has several labels a video, else ``classification_metrics``.

    ``scores`` holds for map in both cases, so that lists with and without a video of several labels can be compared.
    """
    if label_sets_NK is not None:
        return multi_label_metrics(logits_NK, label_sets_NK, scores=scores)
    metrics = classification_metrics(logits_NK, labels_N)
    if scores == "sigmoid":
        metrics |= multi_label_metrics(logits_NK, one_hot(labels_N, logits_NK.shape[1]).bool(), scores=scores)
    return metrics


def classification_metrics(logits_NK: Tensor, labels_N: Tensor) -> dict[str, float]:
    """top1, top5, mean_class_accuracy and map, each in [0, 1].

    ``map`` is the mean over classes of the average precision of the softmax scores (the paper's metric on ActivityNet
    and FCVID). A class without a clip in the list counts neither in map nor in mean_class_accuracy.

    Raises:
        ValueError: no clips.
    """
    if len(labels_N) == 0:
        raise ValueError("expected at least one scored clip, found none; see the messages about the files above.")
    scores_NK, num_classes = logits_NK.float().softmax(dim=1), logits_NK.shape[1]
    present = labels_N.unique()

    def accuracy(average: Literal["micro", "none"], k: int = 1) -> Tensor:
        return multiclass_accuracy(scores_NK, labels_N, num_classes, average, top_k=min(k, num_classes))

    precision_K = multiclass_average_precision(scores_NK, labels_N, num_classes, average="none")
    return {
        "top1": accuracy("micro").item(),
        "top5": accuracy("micro", 5).item(),
        "mean_class_accuracy": accuracy("none")[present].mean().item(),
        "map": precision_K[present].mean().item(),
    }


def multi_label_metrics(logits_NK: Tensor, label_sets_NK: Tensor, *, scores: Scores) -> dict[str, float]:
    """map, in [0, 1]: the mean over classes of the average precision of the scores against bool label sets.

    A class without a clip in the list does not count. There is no top-1: the field's code counts a hit only where the
    first of a video's labels is the highest score (AR-Net, github.com/mengyuest/AR-Net), which says little.

    Args:
        scores: of the logits. Softmax is the paper's, for a model trained with softmax cross-entropy; sigmoid ranks the
            clips of a class by its logit alone, as binary cross-entropy trains it.

    Raises:
        ValueError: no clips.
    """
    if len(label_sets_NK) == 0:
        raise ValueError("expected at least one scored clip, found none; see the messages about the files above.")
    logits_NK = logits_NK.double()  # in fp32 sigmoids above 17 are all 1, and their order is lost
    scores_NK = logits_NK.softmax(dim=1) if scores == "softmax" else logits_NK.sigmoid()
    present = label_sets_NK.any(dim=0).nonzero().flatten().tolist()
    precisions = [binary_average_precision(scores_NK[:, k], label_sets_NK[:, k].long()) for k in present]
    return {"map": torch.stack(precisions).mean().item()}
