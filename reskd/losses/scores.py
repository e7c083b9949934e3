"""The clip and frame terms: they compare softmax scores of whole clips, or of single frames.

They are the first two levels of the ResKD paper's Table 5 (NeurIPS 2022): clip-level KD, which is arXiv:1503.02531, and
frame-level KD, whose scores are those of each frame's mean features. The third level is the pixel term. The paper gives
neither temperature nor weight of the first two.

Shape letters: N clips, T frames, K classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from reskd.losses.dtypes import at_least_fp32


def score_loss(student_K: Tensor, teacher_K: Tensor, *, temperature: float) -> Tensor:
    """temperature^2 * KL(teacher || student) of softmax(scores / temperature), a scalar in fp32 (fp64 for fp64).

    Summed over classes, mean over clips and frames. The loss is computed in fp32, also under autocast. The gradient
    goes to the student only.

    Args:
        student_K, teacher_K: logits of shape (N, K), or (N, T, K), floating point.
        temperature: above 0.

    Raises:
        ValueError: the shapes differ.
    """
    if student_K.ndim < 2 or student_K.shape != teacher_K.shape:
        raise ValueError(
            "clip and frame terms compare class scores: expected (N, K) or (N, T, K) of both, found student "
            f"{tuple(student_K.shape)} and teacher {tuple(teacher_K.shape)}; both must know the same classes, and "
            "for other numbers of frames set loss.time to nearest or interpolate."
        )
    with torch.autocast(student_K.device.type, enabled=False):
        student_K, teacher_K = at_least_fp32(student_K, teacher_K)
        return softened_divergence(student_K, teacher_K, temperature=temperature) / student_K[..., 0].numel()


def softened_divergence(student_K: Tensor, teacher_K: Tensor, *, temperature: float) -> Tensor:
    """temperature^2 * KL(teacher || student) of softmax(scores / temperature) over the last axis, summed over all."""
    student_log, teacher_log = (F.log_softmax(scores / temperature, dim=-1) for scores in (student_K, teacher_K))
    # Not reduction="mean": torch warns that its meaning will change.
    return temperature**2 * F.kl_div(student_log, teacher_log, reduction="sum", log_target=True)
