"""The dtype in which a term compares two networks."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_fp32(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both in fp32, or fp64 if either is; the teacher detached, as no term sends it a gradient.

    Terms compute with autocast disabled: it might square or interpolate in half precision, whose largest number is
    65504.
    """
    dtype = torch.promote_types(torch.promote_types(student.dtype, teacher.dtype), torch.float32)
    return student.to(dtype), teacher.detach().to(dtype)
