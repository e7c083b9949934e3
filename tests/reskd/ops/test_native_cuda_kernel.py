"""The CUDA kernels run on the CPU (cuda_on_cpu.cpp) against the reference: values, gradients, races, memory."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from torch import Tensor

from reskd.ops.interpolate_mse import interpolate_mse_loss

SOURCE = Path(__file__).with_name("cuda_on_cpu.cpp")
TYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def _compile(out: Path, *flags: str) -> Path:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("needs a C++ compiler")
    subprocess.run([compiler, "-std=c++17", "-pthread", *flags, str(SOURCE), "-o", str(out)], check=True)
    return out


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return ctypes.CDLL(str(_compile(tmp_path_factory.mktemp("kernels") / "kernels.so", "-O2", "-shared", "-fPIC")))


def _run(
    kernels: ctypes.CDLL, student: Tensor, teacher: Tensor, *, gradient: bool = True, divisor: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The loss, and the saved gradient without its factor 2 / numel."""
    loss, saved = torch.full((), torch.nan), torch.full_like(student, torch.nan)
    status = kernels.forward(
        *(ctypes.c_void_p(tensor.data_ptr()) for tensor in (student, teacher)),
        ctypes.c_void_p(saved.data_ptr() if gradient else None),
        ctypes.c_void_p(loss.data_ptr()),
        TYPES[student.dtype],
        TYPES[teacher.dtype],
        ctypes.c_int64(student.shape[0]),
        student.shape[1],
        *student.shape[2:],
        *teacher.shape[2:],
        *(int(tensor.is_contiguous(memory_format=torch.channels_last)) for tensor in (student, teacher)),
        ctypes.c_double(divisor),
    )
    assert status == 0, "the kernel left its shared memory, or its plan does not fit"
    return loss, saved


def _reference(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    student = student.double().requires_grad_()
    loss = interpolate_mse_loss(student, teacher.double(), backend="reference")
    (gradient,) = torch.autograd.grad(loss, student)
    return loss.detach(), gradient * (teacher.numel() / 2)


@pytest.mark.parametrize("teacher_layout", LAYOUTS)
@pytest.mark.parametrize("student_layout", LAYOUTS)
@pytest.mark.parametrize(
    ("num_channels", "small", "large"),
    [
        (40, (4, 4), (7, 7)),
        (40, (1, 1), (7, 7)),
        (33, (3, 5), (7, 4)),
        (8, (7, 7), (4, 4)),
        (3, (7, 2), (2, 3)),
        (1, (2, 3), (1, 1)),
        (8, (5, 90), (3, 300)),
    ],
)
def test_value_and_gradient(
    kernels: ctypes.CDLL,
    num_channels: int,
    small: tuple[int, int],
    large: tuple[int, int],
    student_layout: str,
    teacher_layout: str,
) -> None:
    generator = torch.Generator().manual_seed(0)
    student = torch.randn((2, num_channels, *small), generator=generator).to(memory_format=LAYOUTS[student_layout])
    teacher = torch.randn((2, num_channels, *large), generator=generator).to(memory_format=LAYOUTS[teacher_layout])
    loss, saved = _run(kernels, student, teacher)
    expected, gradient = _reference(student, teacher)
    assert abs(loss - expected) <= 1e-6 * expected
    assert (saved - gradient).norm() <= 1e-6 * gradient.norm()
    assert _run(kernels, student, teacher, gradient=False)[0] == loss


@pytest.mark.parametrize("teacher_dtype", TYPES)
@pytest.mark.parametrize("student_dtype", TYPES)
def test_dtypes(kernels: ctypes.CDLL, student_dtype: torch.dtype, teacher_dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = {"memory_format": torch.channels_last}
    student = torch.randn((2, 24, 3, 9), generator=generator).to(student_dtype).to(**shape)
    teacher = torch.randn((2, 24, 7, 5), generator=generator).to(teacher_dtype).to(**shape)
    loss, saved = _run(kernels, student, teacher, divisor=32.0)
    expected, gradient = _reference(student, teacher)
    rounding = {torch.float32: 1e-6, torch.float16: 2**-11, torch.bfloat16: 2**-8}[student_dtype]
    assert abs(loss - expected) <= 1e-6 * expected
    assert (saved.double() * 32 - gradient).norm() <= rounding * gradient.norm()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("small", "large"), [((4, 4), (7, 7)), ((4, 4), (4, 4)), ((4, 4), (7, 4))])
def test_nan_stays_with_the_pixels_it_is_mixed_into(
    kernels: ctypes.CDLL, small: tuple[int, int], large: tuple[int, int], layout: str
) -> None:
    for which in (0, 1):
        generator = torch.Generator().manual_seed(0)
        tensors = [torch.randn((2, 8, *grid), generator=generator) for grid in (small, large)]
        tensors[which][0, 0, 1, 1] = torch.nan
        student, teacher = (tensor.to(memory_format=LAYOUTS[layout]) for tensor in tensors)
        loss, saved = _run(kernels, student, teacher)
        student = student.clone().requires_grad_()
        expected = interpolate_mse_loss(student, teacher, backend="reference")
        (gradient,) = torch.autograd.grad(expected, student)
        assert loss.isnan()
        assert torch.equal(saved.isnan(), gradient.isnan())


def test_pointers_that_are_not_aligned(kernels: ctypes.CDLL) -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (
        torch.randn(1 + 2 * side * side * 8, generator=generator)[1:].view(2, side, side, 8).permute(0, 3, 1, 2)
        for side in (4, 7)
    )
    loss, saved = _run(kernels, student, teacher)
    expected, gradient = _reference(student, teacher)
    assert abs(loss - expected) <= 1e-6 * expected
    assert (saved - gradient).norm() <= 1e-6 * gradient.norm()


def test_the_backward_pass_scales_in_fp32(kernels: ctypes.CDLL) -> None:
    saved = torch.randn(1003, generator=torch.Generator().manual_seed(0)).half()
    out = torch.empty_like(saved)
    pointers = (ctypes.c_void_p(tensor.data_ptr()) for tensor in (saved, out))
    assert kernels.scale_half(*pointers, ctypes.c_int64(1003), ctypes.c_float(6553600.0), ctypes.c_double(1e-6)) == 0
    assert torch.equal(out, (saved.float() * 6.5536).half())


@pytest.mark.slow
def test_no_two_threads_race(tmp_path: Path) -> None:
    try:
        program = _compile(tmp_path / "kernels", "-O1", "-g", "-fsanitize=thread")
    except subprocess.CalledProcessError:
        pytest.skip("needs a compiler with a thread sanitizer")
    finished = subprocess.run([str(program)], capture_output=True, text=True)
    if "unexpected memory mapping" in finished.stderr:
        pytest.skip("the thread sanitizer does not work with this kernel's address layout")
    assert finished.returncode == 0, finished.stderr
    assert len(finished.stdout.split()) == 4
