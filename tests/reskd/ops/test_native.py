"""The compiled backend against the reference, over random shapes, layouts, dtypes and upstream gradients."""

from __future__ import annotations

import faulthandler
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reskd.ops import native
from reskd.ops.interpolate_mse import available_backends, interpolate_mse_loss

FLOATS = (torch.float32, torch.float16, torch.bfloat16)
ROUNDING = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
GRID = st.tuples(st.integers(1, 9), st.integers(1, 9))
NO_KERNEL = available_backends()["cpu"]

pytestmark = pytest.mark.skipif(
    NO_KERNEL is not None and os.environ.get("RESKD_BUILD") == "none", reason=f"RESKD_BUILD=none: {NO_KERNEL}"
)


def _lay_out(tensor: Tensor, layout: str) -> Tensor:
    if layout == "neither":
        return tensor.permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0)
    return tensor.to(memory_format=torch.channels_last if layout == "channels_last" else torch.contiguous_format)


LAYOUT = st.sampled_from(["contiguous", "channels_last", "neither"])


def _tensors(small: tuple[int, int], large: tuple[int, int], *, channels: int = 5, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn((2, channels, *grid), generator=generator) for grid in (small, large)]


def _loss_and_gradient(
    student: Tensor, teacher: Tensor, *, backend: Any, upstream: float = 1.0
) -> tuple[Tensor, Tensor]:
    student = student.detach().requires_grad_()
    loss = interpolate_mse_loss(student, teacher, backend=backend)
    loss.backward(torch.tensor(upstream, dtype=loss.dtype))
    assert student.grad is not None
    return loss.detach(), student.grad


def _exact(student: Tensor, teacher: Tensor, upstream: float = 1.0) -> tuple[Tensor, Tensor]:
    return _loss_and_gradient(student.double(), teacher.double(), backend="reference", upstream=upstream)


def test_the_cpu_kernel_is_here() -> None:
    assert NO_KERNEL is None


@settings(max_examples=150, deadline=None)
@given(
    small=GRID,
    large=GRID,
    channels=st.integers(1, 70),
    layouts=st.tuples(LAYOUT, LAYOUT),
    upstream=st.sampled_from([1.0, -3.0, 1e-6, 6553600.0]),
    seed=st.integers(0, 1000),
)
def test_fp32_is_within_a_millionth_of_the_exact_answer(
    small: tuple[int, int], large: tuple[int, int], channels: int, layouts: tuple[str, str], upstream: float, seed: int
) -> None:
    tensors = _tensors(small, large, channels=channels, seed=seed)
    student, teacher = (_lay_out(tensor, layout) for tensor, layout in zip(tensors, layouts, strict=True))
    loss, gradient = _loss_and_gradient(student, teacher, backend="cpu", upstream=upstream)
    exact_loss, exact_gradient = _exact(student, teacher, upstream)
    assert abs(loss - exact_loss) <= 1e-6 * exact_loss
    assert (gradient - exact_gradient).norm() <= 1e-6 * exact_gradient.norm()


@settings(max_examples=100, deadline=None)
@given(
    small=GRID,
    large=GRID,
    dtypes=st.tuples(st.sampled_from(FLOATS), st.sampled_from(FLOATS)),
    layouts=st.tuples(LAYOUT, LAYOUT),
    upstream=st.sampled_from([1.0, 6553600.0]),
    seed=st.integers(0, 1000),
)
def test_half_precision_errs_at_most_twice_as_much_as_eager(
    small: tuple[int, int],
    large: tuple[int, int],
    dtypes: tuple[torch.dtype, torch.dtype],
    layouts: tuple[str, str],
    upstream: float,
    seed: int,
) -> None:
    tensors = [tensor.to(dtype) for tensor, dtype in zip(_tensors(small, large, seed=seed), dtypes, strict=True)]
    student, teacher = (_lay_out(tensor, layout) for tensor, layout in zip(tensors, layouts, strict=True))
    upstream = min(upstream, 1000.0 * teacher.numel())  # what fp16 can hold
    loss, gradient = _loss_and_gradient(student, teacher, backend="cpu", upstream=upstream)
    _, eager_gradient = _loss_and_gradient(student, teacher, backend="reference", upstream=upstream)
    exact_loss, exact_gradient = _exact(student, teacher, upstream)
    assert gradient.dtype == dtypes[0]
    assert abs(loss - exact_loss) <= 1e-6 * exact_loss
    if dtypes[0] == torch.float32:
        assert (gradient - exact_gradient).norm() <= 1e-6 * exact_gradient.norm()
        return
    # The kernel rounds twice, in its forward pass and in its backward pass. Fewer than a hundred numbers are few enough
    # for luck: then eager's error is taken as at least a whole rounding error, else as at least half of one.
    least = (0.5 if exact_gradient.count_nonzero() >= 100 else 1.0) * ROUNDING[dtypes[0]]
    eager = max((eager_gradient - exact_gradient).norm(), least * exact_gradient.norm(), torch.tensor(1e-9))
    assert (gradient - exact_gradient).norm() <= 2 * eager


@pytest.mark.slow
@pytest.mark.parametrize("upstream", [1.0, 6553600.0])
@pytest.mark.parametrize("scale", [1.0, 1e-3])
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_thousand_frames_under_a_gradient_scaler(dtype: torch.dtype, scale: float, upstream: float) -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (
        (scale * torch.randn((1024, 128, side, side), generator=generator))
        .to(dtype)
        .to(memory_format=torch.channels_last)
        for side in (4, 7)
    )
    loss, gradient = _loss_and_gradient(student, teacher, backend="cpu", upstream=upstream)
    _, eager_gradient = _loss_and_gradient(student, teacher, backend="reference", upstream=upstream)
    exact_loss, exact_gradient = _exact(student, teacher, upstream)
    assert abs(loss - exact_loss) <= 1e-6 * exact_loss
    error, eager_error = ((found - exact_gradient).norm() for found in (gradient, eager_gradient))
    if dtype == torch.float32:
        assert error <= 1e-6 * exact_gradient.norm()
    else:
        assert error <= 2 * eager_error


def test_a_sum_that_fp16_cannot_hold_is_saved_all_the_same() -> None:
    student = torch.full((1, 8, 1, 1), 30000.0, dtype=torch.float16)
    teacher = torch.full((1, 8, 14, 14), -30000.0, dtype=torch.float16)
    _, gradient = _loss_and_gradient(student, teacher, backend="cpu")
    torch.testing.assert_close(gradient, _loss_and_gradient(student, teacher, backend="reference")[1])


def test_fp64_for_gradcheck() -> None:
    for layout in ("contiguous", "channels_last"):
        student, teacher = (_lay_out(tensor.double(), layout) for tensor in _tensors((2, 3), (5, 4)))
        student.requires_grad_()
        assert torch.autograd.gradcheck(lambda x, y=teacher: interpolate_mse_loss(x, y, backend="cpu"), student)


@pytest.mark.parametrize("dtype", FLOATS)
def test_same_bits_on_every_run_and_for_any_number_of_threads(dtype: torch.dtype) -> None:
    student, teacher = (
        tensor.to(dtype).to(memory_format=torch.channels_last) for tensor in _tensors((4, 4), (7, 7), channels=1100)
    )
    before, found = torch.get_num_threads(), []
    try:
        for num_threads in (1, 2, 3, 1):
            torch.set_num_threads(num_threads)
            found.append(_loss_and_gradient(student, teacher, backend="cpu"))
    finally:
        torch.set_num_threads(before)
    for loss, gradient in found[1:]:
        assert loss == found[0][0]
        assert torch.equal(gradient, found[0][1])


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("index", [(0, 0, 0, 0), (1, 2, 3, 3), (0, 1, 3, 1)])
@pytest.mark.parametrize(("small", "large"), [((4, 4), (7, 7)), ((4, 4), (8, 8)), ((4, 4), (4, 4))])
def test_nan_and_infinity_come_out_where_eager_has_them(
    value: float, index: tuple[int, ...], small: tuple[int, int], large: tuple[int, int]
) -> None:
    for which in (0, 1):
        tensors = _tensors(small, large)
        tensors[which][index] = value
        loss, gradient = _loss_and_gradient(*tensors, backend="cpu")
        eager_loss, eager_gradient = _loss_and_gradient(*tensors, backend="reference")
        torch.testing.assert_close(loss, eager_loss, equal_nan=True)
        torch.testing.assert_close(gradient, eager_gradient, equal_nan=True)


def test_no_gradient_is_computed_where_none_is_asked_for() -> None:
    student, teacher = _tensors((4, 4), (7, 7))
    loss = interpolate_mse_loss(student, teacher, backend="cpu")
    with torch.no_grad():
        assert interpolate_mse_loss(student.requires_grad_(), teacher, backend="cpu") == loss
    _, saved = torch.ops.reskd.interpolate_mse(student.detach(), teacher, False)
    assert saved.numel() == 0


def test_backward_changes_nothing_that_was_saved() -> None:
    student, teacher = _tensors((4, 4), (7, 7))
    loss = interpolate_mse_loss(student.requires_grad_(), teacher, backend="cpu")
    (first,) = torch.autograd.grad(loss, student, retain_graph=True)
    (second,) = torch.autograd.grad(loss, student)
    assert torch.equal(first, second)


def test_the_gradient_keeps_the_layout_of_the_student() -> None:
    for layout in ("contiguous", "channels_last"):
        student, teacher = (_lay_out(tensor, layout) for tensor in _tensors((4, 4), (7, 7)))
        _, gradient = _loss_and_gradient(student, teacher, backend="cpu")
        assert gradient.stride() == student.stride()


def test_a_second_derivative_is_refused() -> None:
    student, teacher = _tensors((4, 4), (7, 7))
    student.requires_grad_()
    loss = interpolate_mse_loss(student, teacher, backend="cpu")
    (gradient,) = torch.autograd.grad(loss, student, create_graph=True)
    with pytest.raises(RuntimeError, match=r"no second derivative.*\(2, 5, 4, 4\).*backend='reference'"):
        gradient.sum().backward()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("needs_gradient", [True, False])
def test_opcheck(dtype: torch.dtype, needs_gradient: bool) -> None:
    for layout in ("contiguous", "channels_last", "neither"):
        student, teacher = (_lay_out(tensor.to(dtype), layout) for tensor in _tensors((4, 3), (7, 7)))
        student.requires_grad_(needs_gradient)
        torch.library.opcheck(torch.ops.reskd.interpolate_mse.default, (student, teacher, needs_gradient))
        saved, upstream = student.detach(), torch.tensor(2.0)
        torch.library.opcheck(torch.ops.reskd.interpolate_mse_backward.default, (saved, upstream, 7, 7))


@pytest.mark.slow
def test_torch_compile_takes_it_whole() -> None:
    def step(student: Tensor, teacher: Tensor) -> Tensor:
        return interpolate_mse_loss(student * 2, teacher) * 3

    student, teacher = _tensors((4, 4), (7, 7))
    student.requires_grad_()
    expected = torch.autograd.grad(step(student, teacher), student)[0]
    for dynamic in (False, True):
        torch.compiler.reset()
        compiled = torch.compile(step, fullgraph=True, dynamic=dynamic)
        torch.testing.assert_close(torch.autograd.grad(compiled(student, teacher), student)[0], expected)


def test_autocast_and_gradient_scaler() -> None:
    layer, images = nn.Conv2d(3, 8, 3), torch.randn((2, 3, 6, 6), generator=torch.Generator().manual_seed(0))
    teacher = torch.zeros((2, 8, 7, 7), dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        features = layer(images)
        loss = interpolate_mse_loss(features, teacher, backend="cpu")
    assert features.dtype == torch.bfloat16
    assert loss.dtype == torch.float32
    (loss * 65536).backward()
    assert layer.weight.grad is not None and layer.weight.grad.isfinite().all()


def _ddp_rank(rank: int, store: str) -> None:
    faulthandler.dump_traceback_later(200, exit=True)  # rather than wait for good
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = nn.Conv2d(3, 8, 3)
    parallel = nn.parallel.DistributedDataParallel(model)
    images, teacher = torch.randn(4, 3, 6, 6), torch.randn(4, 8, 7, 7)
    mine = slice(2 * rank, 2 * rank + 2)
    interpolate_mse_loss(parallel(images[mine]), teacher[mine], backend="cpu").backward()
    averaged = model.weight.grad
    alone = nn.Conv2d(3, 8, 3)
    alone.load_state_dict(model.state_dict())
    interpolate_mse_loss(alone(images), teacher, backend="reference").backward()
    torch.testing.assert_close(averaged, alone.weight.grad)
    dist.destroy_process_group()
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.slow
def test_two_ranks_average_its_gradient(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_ddp_rank, (str(tmp_path / "store"),), nprocs=2)


def test_time_folds_into_the_batch_without_a_copy() -> None:
    clips_NDTHW = torch.randn(2, 8, 3, 4, 4).to(memory_format=torch.channels_last_3d)
    frames_BDHW = clips_NDTHW.permute(0, 2, 1, 3, 4).flatten(0, 1)
    assert frames_BDHW.data_ptr() == clips_NDTHW.data_ptr()
    assert frames_BDHW.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (torch.zeros(1, 2, 2), torch.zeros(1, 2, 4, 4), r"expected \(B, D, h, w\).*\[1, 2, 2\]"),
        (torch.zeros(1, 2, 2, 2), torch.zeros(1, 3, 4, 4), r"the same B and D.*\[1, 2, 2, 2\].*\[1, 3, 4, 4\]"),
        (torch.zeros(1, 2, 0, 2), torch.zeros(1, 2, 4, 4), r"at least one element.*\[1, 2, 0, 2\]"),
        (torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 4, 4).double(), "fp64 for both or for neither"),
        (torch.zeros(1, 2, 2, 2).int(), torch.zeros(1, 2, 4, 4), "expected fp16, bf16 or fp32, found Int"),
    ],
)
def test_the_operator_itself_refuses_what_it_cannot_read(student: Tensor, teacher: Tensor, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        torch.ops.reskd.interpolate_mse(student, teacher, False)


def test_backward_refuses_what_the_forward_pass_did_not_save() -> None:
    backward = torch.ops.reskd.interpolate_mse_backward
    with pytest.raises(ValueError, match="expected what the forward pass saved"):
        backward(torch.ones(1).expand(2, 3, 4, 4), torch.tensor(1.0), 7, 7)
    with pytest.raises(ValueError, match="expected what the forward pass saved"):
        backward(torch.ones(2, 3, 4, 4), torch.ones(2), 7, 7)


@pytest.mark.slow
def test_a_fresh_process_may_compile_before_the_library_is_loaded() -> None:
    program = (
        "import torch\n"
        "from reskd.ops.interpolate_mse import interpolate_mse_loss as loss\n"
        "student, teacher = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(2, 3, 7, 7)\n"
        "compiled = torch.compile(lambda a, b: loss(a, b, backend='cpu'), fullgraph=True, backend='aot_eager')\n"
        "compiled(student, teacher).backward()\n"
        "expected, = torch.autograd.grad(loss(student, teacher, backend='reference'), student)\n"
        "torch.testing.assert_close(student.grad, expected)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_divisor_is_no_smaller_than_any_sum_of_shares() -> None:
    # fp16 saves the sum divided by a power of two; the difference of two fp16 numbers may be twice the largest.
    for size_in in range(1, 12):
        for size_out in range(1, 40):
            student = torch.full((1, 1, size_in, size_in), 65504.0, dtype=torch.float16)
            teacher = torch.full((1, 1, size_out, size_out), -65504.0, dtype=torch.float16)
            _, saved = torch.ops.reskd.interpolate_mse(student, teacher, True)
            assert saved.isfinite().all(), (size_in, size_out)


def test_a_missing_library_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "native_library_name", lambda version: "_native_torch0_0")
    reasons = native.why_not_loaded.__wrapped__()
    assert reasons["cpu"] is not None and "RESKD_BUILD=none" in reasons["cpu"]
