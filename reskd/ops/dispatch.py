"""Chooses the implementation of an op. An explicit backend is honored or refused; only "auto" falls back."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from reskd.ops.native import interpolate_mse_native, why_not_loaded
from reskd.ops.reference import interpolate_mse_reference

log = logging.getLogger(__name__)


# In order of preference for "auto".
_IMPLEMENTATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cuda": interpolate_mse_native,
    "cpu": interpolate_mse_native,
    "reference": interpolate_mse_reference,
}

_MAX_SIDE_CUDA = 1024  # kMaxSide of reskd/csrc/cuda/problem.h: the tables fit the shared memory of every GPU

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

_said: set[str] = set()


def available_backends(student_BDhw: Tensor | None = None, teacher_BDHW: Tensor | None = None) -> dict[str, str | None]:
    """Each backend, the one preferred by "auto" first, and why it cannot run, or None if it can.

    Args:
        student_BDhw, teacher_BDHW: the op's inputs; without them, any supported tensors are assumed.

    Raises:
        TypeError, ValueError: no backend supports these tensors (see interpolate_mse_loss).
    """
    if student_BDhw is None or teacher_BDHW is None:
        return {name: _why_not_here(name) for name in _IMPLEMENTATIONS}
    check_tensors(student_BDhw, teacher_BDHW)
    return {name: why_not(name, student_BDhw, teacher_BDHW) for name in _IMPLEMENTATIONS}


def choose(backend: str, student_BDhw: Tensor, teacher_BDHW: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """The function behind ``backend``, or behind the best one for these tensors.

    Raises:
        ValueError: no such backend, or it cannot run on these tensors; the message says why.
    """
    if backend == "auto":
        return _IMPLEMENTATIONS[_choose_best(student_BDhw, teacher_BDHW)]
    if backend not in _IMPLEMENTATIONS:
        raise ValueError(
            f"backend: expected one of {('auto', *_IMPLEMENTATIONS)}, found {backend!r}; "
            "use 'auto' for the best that works here."
        )
    reason = why_not(backend, student_BDhw, teacher_BDHW)
    if reason:
        raise ValueError(f"backend {backend!r} was requested but cannot run: {reason}. 'auto' takes one that can.")
    return _IMPLEMENTATIONS[backend]


def why_not(backend: str, student_BDhw: Tensor, teacher_BDHW: Tensor) -> str | None:
    """Why ``backend`` cannot run on these tensors; None if it can."""
    device = student_BDhw.device.type
    if backend == "reference":
        return None
    if device != backend:
        return f"it is for tensors on {backend}, these are on {device}"
    if (student_BDhw.dtype == torch.float64) != (teacher_BDHW.dtype == torch.float64):
        return f"fp64 pairs with fp64 only, found {student_BDhw.dtype} and {teacher_BDHW.dtype}"
    if backend == "cuda" and student_BDhw.dtype == torch.float64:
        return "it has no fp64"
    if backend == "cuda" and max(*student_BDhw.shape[-2:], *teacher_BDHW.shape[-2:]) > _MAX_SIDE_CUDA:
        return f"it takes grids up to {_MAX_SIDE_CUDA} per side, found {_shapes(student_BDhw, teacher_BDHW)}"
    return _why_not_here(backend)


def describe_choice(backend: str, device: torch.device) -> str:
    """The implementation for half or single precision tensors on ``device``, in words for the log.

    Raises:
        ValueError: ``backend`` is not "auto" and cannot run there.
    """
    name = device.type if backend == "auto" else backend
    if name not in _IMPLEMENTATIONS:
        return f"plain PyTorch, as there is no kernel for {name}"
    reason = _why_not_here(name)
    if backend not in ("auto", "reference", device.type):
        reason = f"it is for tensors on {backend}, this run is on {device.type}"
    if reason and backend != "auto":
        raise ValueError(f"backend {backend!r} was requested but cannot run: {reason}. 'auto' takes one that can.")
    if name == "reference" or reason:
        return "plain PyTorch" + (f", as the {name} kernel is not available: {reason}" if reason else "")
    return f"the fused {name} kernel" + (f" ({torch.ops.reskd.cpu_instruction_set()})" if name == "cpu" else "")


def _choose_best(student_BDhw: Tensor, teacher_BDHW: Tensor) -> str:
    device = student_BDhw.device.type
    if device in _IMPLEMENTATIONS:
        reason = why_not(device, student_BDhw, teacher_BDHW)
        if reason is None:
            return device
        _say_once(f"interpolate_mse_loss falls back to plain PyTorch, as the {device} kernel cannot run: {reason}.")
    return "reference"


def check_tensors(student_BDhw: Tensor, teacher_BDHW: Tensor) -> None:
    """Raises TypeError or ValueError for tensors that no backend supports."""
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
            f"expected at least one element, found {_shapes(student_BDhw, teacher_BDHW)}; an empty mean is undefined."
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


# torch.compile treats the results of these two as constants and does not trace into them.


@torch.compiler.assume_constant_result
def _why_not_here(backend: str) -> str | None:
    if backend == "reference":
        return None
    if backend == "cuda" and not torch.cuda.is_available():
        return "there is no GPU that torch can use"
    reason = why_not_loaded()[backend]
    if backend == "cuda" and reason is None and not torch.ops.reskd.cuda_runs_here():
        return f"it was compiled for other GPUs than {torch.cuda.get_device_name()}; install the project again here"
    return reason


@torch.compiler.assume_constant_result
def _say_once(text: str) -> None:
    if text not in _said:
        _said.add(text)
        log.warning(text)
