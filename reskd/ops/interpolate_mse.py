"""The pixel term of ResKD (equation 1 of the paper): enlarge the student's features, compare with the teacher's.

Shape letters: B images, D channels, H W the teacher's grid, h w the student's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reskd.ops.dispatch import Backend, available_backends, choose

__all__ = ["Backend", "available_backends", "interpolate_mse_loss"]

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def interpolate_mse_loss(student_BDhw: Tensor, teacher_BDHW: Tensor, *, backend: Backend = "auto") -> Tensor:
    """Mean over all B*D*H*W elements of (bilinear(student, to H x W) - teacher)^2, align_corners=False.

    The grids may be of any size, the student's larger too. Contiguous and channels-last tensors are read as they are;
    one that is neither is copied first. The gradient goes to the student only, and there is no second one in the
    compiled backends. Autocast changes nothing. NaN and infinity come out where eager PyTorch has them.

    A time axis is folded into B by the caller: ``features_NTDHW.flatten(0, 1)``, a view in channels-last.

    Args:
        student_BDhw: fp16, bf16, fp32 or fp64.
        teacher_BDHW: the same choice, not necessarily the same dtype; on the same device; requires no gradient.
        backend: "auto", or one of ``available_backends()``.

    Returns:
        A scalar in fp32, computed in fp32 (in fp64 where an input is fp64).

    Raises:
        TypeError, ValueError: wrong dtype; shape, device or gradient that does not fit; a backend that cannot serve.
        RuntimeError: a second derivative.
    """
    _check_tensors(student_BDhw, teacher_BDHW)
    return choose(backend, student_BDhw, teacher_BDHW)(student_BDhw, teacher_BDHW)


def _check_tensors(student_BDhw: Tensor, teacher_BDHW: Tensor) -> None:
    if student_BDhw.ndim != 4 or teacher_BDHW.ndim != 4:
        raise ValueError(
            f"expected (B, D, h, w) and (B, D, H, W), found {_shapes(student_BDhw, teacher_BDHW)}; "
            "flatten clips and frames into B."
        )
    if student_BDhw.shape[:2] != teacher_BDHW.shape[:2]:
        raise ValueError(
            f"expected the same B and D, found {_shapes(student_BDhw, teacher_BDHW)}; only the grids may differ."
        )
    if student_BDhw.numel() == 0 or teacher_BDHW.numel() == 0:
        raise ValueError(
            f"expected at least one element, found {_shapes(student_BDhw, teacher_BDHW)}; "
            "the mean of nothing is not a number."
        )
    if student_BDhw.device != teacher_BDHW.device:
        raise ValueError(
            f"expected one device, found student on {student_BDhw.device} and teacher on {teacher_BDHW.device}; "
            "move one of them."
        )
    for name, tensor in (("student", student_BDhw), ("teacher", teacher_BDHW)):
        if tensor.dtype not in _DTYPES:
            raise TypeError(f"{name}: expected fp16, bf16, fp32 or fp64, found {tensor.dtype}; convert it.")
    if teacher_BDHW.requires_grad:
        raise ValueError(
            "expected a teacher that requires no gradient, found one that does "
            f"({_shapes(student_BDhw, teacher_BDHW)}); run it under torch.no_grad() or detach its features."
        )


def _shapes(student_BDhw: Tensor, teacher_BDHW: Tensor) -> str:
    return f"student {tuple(student_BDhw.shape)} and teacher {tuple(teacher_BDHW.shape)}"
