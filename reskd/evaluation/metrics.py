"""Accuracies of a list of clips, from torchmetrics. Shape letters: N clips, K classes."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_average_precision


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
