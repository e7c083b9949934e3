"""The logit map term: it compares class scores at every location of the last feature maps.

The ResKD paper uses it where the widths differ (Swin-B with 1024 channels teaches Swin-S with 768): each network's
own classifier scores every location of its map, so both maps have the same K classes. The paper leaves the details to
an appendix; ours follow its public code, github.com/CVMI-Lab/ResKD at 9948fe3:
mmaction/models/heads/grkd_3d_head.py and configs/myconfig/rkd/rkd_swins_32x2x1_60e_k400.py.

Note [Classifier first]
The public code enlarges the student's features and then classifies. The weights of a bilinear sample sum to one and a
linear layer is affine, so classifying first gives the same scores. It classifies h*w locations instead of H*W (16
instead of 49), and enlarges K channels instead of D.

Note [Mean over classes too]
The public code's KLDivLoss(reduction="mean") divides by the number of locations times K, and its weight of 200 assumes
that: with the 400 classes of Kinetics-400 the KL of a location counts half. So we divide by K too; for other numbers of
classes the paper's weight is K / 2.

Shape letters: N clips, T frames, B = N * T, K classes, H W the teacher's grid, h w the student's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from reskd.losses.dtypes import at_least_fp32
from reskd.losses.scores import softened_divergence


def logit_map_loss(student_NTKhw: Tensor, teacher_NTKHW: Tensor, *, temperature: float) -> Tensor:
    """temperature^2 * KL(teacher || student) of softmax(scores / temperature), a scalar in fp32 (fp64 for fp64).

    The mean is over clips, frames, locations of the teacher's grid and classes: Note [Mean over classes too]. The
    student's scores are enlarged frame by frame, bilinearly, align_corners=False. The loss is computed in fp32, also
    under autocast. The gradient goes to the student only.

    Args:
        student_NTKhw, teacher_NTKHW: floating point; channels-last within a frame, which avoids a copy.
        temperature: above 0.

    Raises:
        ValueError: the numbers of clips, frames or classes differ.
    """
    if student_NTKhw.ndim != 5 or teacher_NTKHW.ndim != 5 or student_NTKhw.shape[:3] != teacher_NTKHW.shape[:3]:
        raise ValueError(
            "the logit map term compares class scores clip by clip and frame by frame: expected (N, T, K, h, w) and "
            f"(N, T, K, H, W) with the same N, T and K, found student {tuple(student_NTKhw.shape)} and teacher "
            f"{tuple(teacher_NTKHW.shape)}; both must know the same classes, and for other numbers of "
            "frames set loss.time to nearest or interpolate."
        )
    with torch.autocast(student_NTKhw.device.type, enabled=False):
        student_BKhw, teacher_BKHW = at_least_fp32(student_NTKhw.flatten(0, 1), teacher_NTKHW.flatten(0, 1))
        student_BKHW = F.interpolate(student_BKhw, size=teacher_BKHW.shape[-2:], mode="bilinear", align_corners=False)
        # Classes last, as they lie in memory.
        student_BHWK, teacher_BHWK = (scores.permute(0, 2, 3, 1) for scores in (student_BKHW, teacher_BKHW))
        return softened_divergence(student_BHWK, teacher_BHWK, temperature=temperature) / teacher_BHWK.numel()
