"""Losses on the labels. Shape letters: N clips, K classes.

Targets are int64 (N,), one class index per clip; bool (N, K), True at each of a clip's labels; or floating point
(N, K), the share of each label, as mixing gives them (reskd/training/recipes/mixing.py). They are not checked here, as
that would wait for the device: the annotation lists are checked instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from reskd.choices import ClassWeights, TaskName


def softmax_ce(
    logits_NK: Tensor, targets: Tensor, *, label_smoothing: float = 0.0, class_weights_K: Tensor | None = None
) -> Tensor:
    """Softmax cross-entropy, mean over clips, a scalar in fp32 (fp64 for fp64 logits).

    Args:
        logits_NK: floating point.
        targets: int64 in [0, K), for clips with one label; or shares that sum to 1.
        label_smoothing: share of a clip's label that is spread over all classes (arXiv:1512.00567, section 7).
        class_weights_K: fp32, multiplies the loss of each label. The sum is divided by the number of clips, not by that
            of their weights, so the loss of a batch is the mean of the losses of its parts.
    """
    logits_NK = _wide(logits_NK)
    if targets.is_floating_point():
        targets = targets.to(logits_NK.dtype)
    if class_weights_K is None:
        return F.cross_entropy(logits_NK, targets, label_smoothing=label_smoothing)
    weights_K = class_weights_K.to(logits_NK.dtype)
    total = F.cross_entropy(logits_NK, targets, weight=weights_K, label_smoothing=label_smoothing, reduction="sum")
    return total / len(logits_NK)


def random_label_ce(logits_NK: Tensor, targets: Tensor, *, class_weights_K: Tensor | None = None) -> Tensor:
    """``softmax_ce`` with one of each clip's labels, drawn anew in every call from the device's generator.

    The public code of the ResKD paper does this on ActivityNet and FCVID.
    """
    if targets.ndim == 1:
        return softmax_ce(logits_NK, targets, class_weights_K=class_weights_K)
    draws_NK = torch.rand(targets.shape, device=targets.device)
    drawn_N = torch.where(targets, draws_NK, -1.0).argmax(1)
    return softmax_ce(logits_NK, drawn_N, class_weights_K=class_weights_K)


def sigmoid_bce(logits_NK: Tensor, targets: Tensor, *, class_weights_K: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of sigmoid(logits) and the label sets, summed over classes, mean over clips.

    A scalar in fp32 as above. "Efficient Video Classification Using Fewer Frames" sums over classes too; a mean would
    divide a clip's gradient by K, and need another learning rate and loss.pixel.alpha for each data set.

    Args:
        class_weights_K: multiplies the loss of each label, not that of the classes that a clip does not have.
    """
    sets_NK = targets if targets.ndim == 2 else torch.zeros_like(logits_NK).scatter_(1, targets[:, None], 1.0)
    logits_NK = _wide(logits_NK)
    weights_K = None if class_weights_K is None else class_weights_K.to(logits_NK.dtype)
    total = F.binary_cross_entropy_with_logits(
        logits_NK, sets_NK.to(logits_NK.dtype), pos_weight=weights_K, reduction="sum"
    )
    return total / len(logits_NK)


TASK_LOSSES: dict[TaskName, Any] = {
    "softmax_ce": softmax_ce,
    "random_label_ce": random_label_ce,
    "sigmoid_bce": sigmoid_bce,
}


def weights_of_classes(setting: ClassWeights, class_counts_K: Sequence[int], names: Sequence[str]) -> Tensor | None:
    """fp32 (K,), the weight of each class, on the CPU; None if there are none.

    ``balanced`` is the inverse of a class's number of videos, scaled so that the mean over the labels of the training
    list is 1 (scikit-learn's "balanced"): the learning rate keeps its meaning. A class without videos has weight 1.

    Args:
        class_counts_K: labels of each class in the training list.
        names: of the classes, in order.

    Raises:
        ValueError: as check_class_weights.
    """
    check_class_weights(setting, names)
    if setting == "none":
        return None
    if isinstance(setting, Mapping):
        return torch.tensor([setting.get(name, 1.0) for name in names], dtype=torch.float32)
    if setting != "balanced":
        return torch.tensor(setting, dtype=torch.float32)
    counts_K = torch.as_tensor(class_counts_K, dtype=torch.float64)
    has_some_K = counts_K > 0
    balanced_K = counts_K.sum() / (has_some_K.sum() * counts_K.clamp(min=1))
    return torch.where(has_some_K, balanced_K, 1.0).float()


def check_class_weights(setting: ClassWeights, names: Sequence[str]) -> None:
    """Raises ValueError if the weights are of other classes than ``names``."""
    if isinstance(setting, tuple) and len(setting) != len(names):
        raise ValueError(
            f"loss.class_weights: expected {len(names)} weights, one a class in order, found {len(setting)}; add or "
            "remove some, or give them by name."
        )
    unknown = [name for name in setting if name not in names] if isinstance(setting, Mapping) else []
    if unknown:
        near = get_close_matches(unknown[0], names, n=1)
        advice = f"did you mean {near[0]!r}?" if near else "leave it out or correct it."
        expected = f"names of classes, as {', '.join(map(repr, names[:3]))}"
        raise ValueError(f"loss.class_weights: expected {expected}, found {unknown[0]!r}; {advice}")


def _wide(logits_NK: Tensor) -> Tensor:
    return logits_NK.to(torch.promote_types(logits_NK.dtype, torch.float32))
