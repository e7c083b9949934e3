"""The CUDA backend on a GPU, against the reference; and that it is compiled where it can be."""

from __future__ import annotations

import itertools
import shutil

import pytest
import torch
from torch import Tensor

from reskd.ops.interpolate_mse import interpolate_mse_loss
from reskd.ops.native import why_not_loaded

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
LAYOUTS = (torch.contiguous_format, torch.channels_last)
FLOATS = (torch.float32, torch.float16, torch.bfloat16)
GRIDS = [((4, 4), (7, 7)), ((1, 1), (7, 7)), ((3, 5), (7, 4)), ((7, 7), (4, 4)), ((20, 30), (56, 57))]


def test_it_is_compiled_where_a_matching_nvcc_is() -> None:
    reason = why_not_loaded()["cuda"]
    if shutil.which("nvcc") is None or (reason and ("needs nvcc" in reason or "RESKD_BUILD" in reason)):
        pytest.skip(f"needs an nvcc of torch's CUDA: {reason}")
    assert reason is None
    assert torch._C._dispatch_has_kernel_for_dispatch_key("reskd::interpolate_mse", "CUDA")


def _pair(small: tuple[int, int], large: tuple[int, int], *, num_images: int = 2, channels: int = 40) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn((num_images, channels, *grid), generator=generator).cuda() for grid in (small, large)]


def _run(student: Tensor, teacher: Tensor, backend: str, upstream: float = 1.0) -> tuple[Tensor, Tensor]:
    student = student.detach().requires_grad_()
    loss = interpolate_mse_loss(student, teacher, backend=backend)  # type: ignore[arg-type]
    return loss.detach(), torch.autograd.grad(loss * upstream, student)[0]


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("dtype", FLOATS)
def test_value_and_gradient(dtype: torch.dtype) -> None:
    rounding = {torch.float32: 5e-7, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}[dtype]
    for (small, large), channels, layouts in itertools.product(GRIDS, (40, 33), itertools.product(LAYOUTS, LAYOUTS)):
        student, teacher = (
            tensor.to(dtype).to(memory_format=layout)
            for tensor, layout in zip(_pair(small, large, channels=channels), layouts, strict=True)
        )
        loss, gradient = _run(student, teacher, "cuda", upstream=1000.0)
        exact_loss, exact = _run(student.double(), teacher.double(), "reference", upstream=1000.0)
        case = (small, large, channels, layouts)
        assert abs(loss - exact_loss) <= 1e-6 * exact_loss, case
        assert (gradient - exact).norm() <= 2 * rounding * exact.norm(), case
        assert torch.equal(_run(student, teacher, "cuda", upstream=1000.0)[1], gradient), case


@needs_gpu
@pytest.mark.gpu
def test_auto_takes_it_and_no_call_waits_for_the_device() -> None:
    student, teacher = _pair((4, 4), (7, 7))
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss, gradient = _run(student, teacher, "auto")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = _run(student, teacher, "cuda")
    assert loss == expected[0]
    assert torch.equal(gradient, expected[1])


@needs_gpu
@pytest.mark.gpu
def test_it_runs_on_the_current_stream() -> None:
    student, teacher = _pair((4, 4), (7, 7), num_images=64, channels=512)
    expected = _run(student, teacher, "reference")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        loss, _ = _run(student, teacher, "cuda")
    stream.synchronize()
    torch.testing.assert_close(loss, expected[0])


@needs_gpu
@pytest.mark.gpu
def test_what_it_cannot_serve_is_refused() -> None:
    wide = torch.zeros(1, 8, 1, 1025, device="cuda")
    with pytest.raises(ValueError, match="grids up to 1024"):
        interpolate_mse_loss(wide, wide, backend="cuda")
    with pytest.raises(ValueError, match="it has no fp64"):
        interpolate_mse_loss(wide.double(), wide.double(), backend="cuda")


@needs_gpu
@pytest.mark.gpu
@pytest.mark.slow
def test_opcheck_on_the_device() -> None:
    student, teacher = _pair((4, 4), (7, 7))
    torch.library.opcheck(torch.ops.reskd.interpolate_mse.default, (student.requires_grad_(), teacher, True))
