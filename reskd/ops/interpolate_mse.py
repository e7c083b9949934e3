"""The pixel term of ResKD (equation 1 of the paper): enlarge the student's features, compare with the teacher's.

Shape letters: B images, D channels, H W the teacher's grid, h w the student's.
"""

from __future__ import annotations

from torch import Tensor

from reskd.ops.dispatch import Backend, available_backends, check_tensors, choose

__all__ = ["Backend", "available_backends", "interpolate_mse_loss"]


def interpolate_mse_loss(student_BDhw: Tensor, teacher_BDHW: Tensor, *, backend: Backend = "auto") -> Tensor:
    """Mean over all B*D*H*W elements of (bilinear(student, to H x W) - teacher)^2, align_corners=False.

    The grids may be of any size, the student's larger too. Contiguous and channels-last tensors are read as they are;
    one that is neither is copied first. The gradient goes to the student only, and there is no second one in the
    compiled backends. Autocast changes nothing. NaN and infinity come out where eager PyTorch has them on a CPU.
    Beyond the inputs it holds at most twice the student's gradient, and nothing of the teacher's size, but for the
    reference.

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
    check_tensors(student_BDhw, teacher_BDHW)
    return choose(backend, student_BDhw, teacher_BDHW)(student_BDhw, teacher_BDHW)
