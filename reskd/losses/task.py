"""What the labels say. Shape letters: N clips, K classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def softmax_ce(logits_NK: Tensor, labels_N: Tensor) -> Tensor:
    """Softmax cross-entropy, mean over clips, a scalar in fp32 (fp64 for fp64 logits).

    Args:
        logits_NK: floating point.
        labels_N: int64 in [0, K). Not checked here, which would wait for the device: the data config is checked.
    """
    return F.cross_entropy(logits_NK.to(torch.promote_types(logits_NK.dtype, torch.float32)), labels_N)
