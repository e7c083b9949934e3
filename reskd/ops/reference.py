"""The interpolating mean squared error in plain PyTorch, our specification. Shapes: interpolate_mse.py."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def interpolate_mse_reference(student_BDhw: Tensor, teacher_BDHW: Tensor) -> Tensor:
    """Mean squared error between the enlarged student and the teacher, in fp32, or fp64 where an input is fp64."""
    dtype = torch.promote_types(torch.promote_types(student_BDhw.dtype, teacher_BDHW.dtype), torch.float32)
    # Autocast might interpolate in half precision.
    with torch.autocast(student_BDhw.device.type, enabled=False):
        student_BDHW = F.interpolate(
            student_BDhw.to(dtype), size=teacher_BDHW.shape[-2:], mode="bilinear", align_corners=False
        )
        return F.mse_loss(student_BDHW, teacher_BDHW.to(dtype))
