"""The pixel term of ResKD (equation 1 of the paper): enlarge the student's features, compare with the teacher's.

Shape letters: B images, D channels, H W the teacher's grid, h w the student's.
"""

from __future__ import annotations

from torch import Tensor

from reskd.choices import Backend
from reskd.ops.dispatch import available_backends, check_tensors, choose

__all__ = ["available_backends", "interpolate_mse_loss"]


def interpolate_mse_loss(student_BDhw: Tensor, teacher_BDHW: Tensor, *, backend: Backend = "auto") -> Tensor:
    """Mean over all B*D*H*W elements of (bilinear(student, to H x W) - teacher)^2, align_corners=False.

    The grids may have any size; the student's may be the larger. Contiguous and channels-last tensors are read in
    place; any other is copied first. The gradient goes to the student only; compiled backends have no second
    derivative. Autocast changes nothing. NaN and infinity match eager PyTorch on a CPU. Beyond its inputs, a compiled
    backend holds at most twice the student's gradient, and nothing of the teacher's size.

    The caller folds a time axis into B: ``features_NTDHW.flatten(0, 1)``, a view in channels-last.

    Args:
        student_BDhw: fp16, bf16, fp32 or fp64.
        teacher_BDHW: one of these dtypes, not necessarily the same; on the same device; requires no gradient.
        backend: "auto", or one of ``available_backends()``.

    Returns:
        A scalar in fp32, computed in fp32 (in fp64 where an input is fp64).

    Raises:
        TypeError, ValueError: wrong dtype; mismatched shape, device or gradient; a backend that cannot run.
        RuntimeError: a second derivative.
    """
    check_tensors(student_BDhw, teacher_BDHW)
    return choose(backend, student_BDhw, teacher_BDHW)(student_BDhw, teacher_BDHW)
