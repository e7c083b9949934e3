"""Losses on the labels. Shape letters: N clips, K classes.

Targets are int64 (N,), one class index per clip, or bool (N, K), True at each of a clip's labels. They are not checked
here, as that would wait for the device: the annotation lists are checked instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

TaskName = Literal["softmax_ce", "random_label_ce", "sigmoid_bce"]


def softmax_ce(logits_NK: Tensor, labels_N: Tensor) -> Tensor:
    """Softmax cross-entropy, mean over clips, a scalar in fp32 (fp64 for fp64 logits).

    Args:
        logits_NK: floating point.
        labels_N: int64 in [0, K), for clips with one label.
    """
    return F.cross_entropy(_wide(logits_NK), labels_N)


def random_label_ce(logits_NK: Tensor, targets: Tensor) -> Tensor:
    """``softmax_ce`` with one of each clip's labels, drawn anew in every call from the device's generator.

    The public code of the ResKD paper does this on ActivityNet and FCVID.
    """
    if targets.ndim == 1:
        return softmax_ce(logits_NK, targets)
    draws_NK = torch.rand(targets.shape, device=targets.device)
    return softmax_ce(logits_NK, torch.where(targets, draws_NK, -1.0).argmax(1))


def sigmoid_bce(logits_NK: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of sigmoid(logits) and the label sets, summed over classes, mean over clips.

    A scalar in fp32 as above. "Efficient Video Classification Using Fewer Frames" sums over classes too; a mean would
    divide a clip's gradient by K, and need another learning rate and loss.pixel.alpha for each data set.
    """
    sets_NK = targets if targets.ndim == 2 else torch.zeros_like(logits_NK).scatter_(1, targets[:, None], 1.0)
    logits_NK = _wide(logits_NK)
    return F.binary_cross_entropy_with_logits(logits_NK, sets_NK.to(logits_NK.dtype), reduction="sum") / len(logits_NK)


TASK_LOSSES: dict[TaskName, Callable[[Tensor, Tensor], Tensor]] = {
    "softmax_ce": softmax_ce,
    "random_label_ce": random_label_ce,
    "sigmoid_bce": sigmoid_bce,
}


def _wide(logits_NK: Tensor) -> Tensor:
    return logits_NK.to(torch.promote_types(logits_NK.dtype, torch.float32))
