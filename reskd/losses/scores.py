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
            "loss.time sets how frames are matched."
        )
    dtype = torch.promote_types(torch.promote_types(student_K.dtype, teacher_K.dtype), torch.float32)
    with torch.autocast(student_K.device.type, enabled=False):
        student_log = F.log_softmax(student_K.to(dtype) / temperature, dim=-1)
        teacher_log = F.log_softmax(teacher_K.detach().to(dtype) / temperature, dim=-1)
        divergence = F.kl_div(student_log, teacher_log, reduction="sum", log_target=True)
        return temperature**2 * divergence / student_K[..., 0].numel()
