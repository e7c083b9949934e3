"""Finds and loads the compiled operators of reskd/csrc, and registers them with autograd and torch.compile.

Shape letters: B images, D channels, H W the teacher's grid, h w the student's.
"""

from __future__ import annotations

import functools
import json
import sysconfig
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reskd.environment import native_library_name

# Note [One library for each torch]
# A compiled operator works only with the torch it was compiled against, and a checkout may serve several environments
# (`make test`, `make test-min`). So the library's name carries torch's version: after an upgrade of torch it is not
# found, instead of crashing. A report beside it lists what was built and why the rest was not (setup.py).


@functools.cache
def why_not_loaded() -> dict[str, str | None]:
    """Loads the library on the first call. Backend -> None if it is compiled and loaded, else the reason."""
    folder, name = Path(__file__).resolve().parents[1], native_library_name(torch.__version__)
    report, library = folder / f"{name}.json", folder / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    reasons: dict[str, str | None]
    if report.exists():
        reasons = json.loads(report.read_text(encoding="utf-8"))
    else:
        missing = (
            f"there are no compiled operators for torch {torch.__version__} (the project was installed with "
            "RESKD_BUILD=none, without --no-build-isolation, or for another torch); install it again"
        )
        reasons = {"cpu": missing, "cuda": missing}
    if not library.exists():
        return {
            name: reason or f"{library.name} is gone; install the project again" for name, reason in reasons.items()
        }
    try:
        torch.ops.load_library(str(library))
    except OSError as error:
        return dict.fromkeys(reasons, f"{library.name} does not load: {error}")
    _register()
    return reasons


def interpolate_mse_native(student_BDhw: Tensor, teacher_BDHW: Tensor) -> Tensor:
    """The loss from the compiled kernel for the tensors' device: a scalar in fp32 (fp64 for fp64).

    If a gradient will be needed, it is computed in the same pass over the teacher.
    """
    needs_gradient = student_BDhw.requires_grad and torch.is_grad_enabled()
    loss, _ = torch.ops.reskd.interpolate_mse(student_BDhw, teacher_BDHW, needs_gradient)
    return loss


def _register() -> None:
    torch.library.register_fake("reskd::interpolate_mse", _fake_forward)
    torch.library.register_fake("reskd::interpolate_mse_backward", _fake_backward)
    torch.library.register_autograd("reskd::interpolate_mse", _backward, setup_context=_save)
    torch.library.register_autograd("reskd::interpolate_mse_backward", _second_backward)


def _fake_forward(student_BDhw: Tensor, teacher_BDHW: Tensor, needs_gradient: bool) -> tuple[Tensor, Tensor]:
    dtype = torch.float64 if student_BDhw.dtype == torch.float64 else torch.float32
    loss = student_BDhw.new_empty((), dtype=dtype)
    if not needs_gradient:
        return loss, student_BDhw.new_empty((0, 0, 0, 0))
    if student_BDhw.is_contiguous() or student_BDhw.is_contiguous(memory_format=torch.channels_last):
        return loss, torch.empty_like(student_BDhw)
    return loss, torch.empty_like(student_BDhw, memory_format=torch.channels_last)


def _fake_backward(saved_BDhw: Tensor, grad_output: Tensor, height: int, width: int) -> Tensor:
    return torch.empty_like(saved_BDhw)


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, bool], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)  # otherwise backward gets zeros of the student's size for `saved`
    _, teacher_BDHW, ctx.has_gradient = inputs
    ctx.grid = teacher_BDHW.shape[-2:]
    ctx.save_for_backward(output[1])


def _backward(ctx: Any, grad_loss: Tensor | None, grad_saved: Tensor | None) -> tuple[Tensor | None, None, None]:
    if grad_loss is None:
        return None, None, None
    if not ctx.has_gradient:
        raise RuntimeError(
            "reskd::interpolate_mse was called with needs_gradient=False, but a gradient was requested; "
            "call reskd.ops.interpolate_mse_loss, which knows when one is needed."
        )
    (saved_BDhw,) = ctx.saved_tensors
    return torch.ops.reskd.interpolate_mse_backward(saved_BDhw, grad_loss, *ctx.grid), None, None


def _second_backward(ctx: Any, *gradients: Tensor) -> None:
    shapes = ", ".join(str(tuple(gradient.shape)) for gradient in gradients)
    raise RuntimeError(
        f"interpolate_mse_loss has no second derivative in its compiled backends (requested at {shapes}); "
        "use backend='reference', which has one."
    )
