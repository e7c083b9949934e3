"""interpolate_mse_loss against values worked out by hand and against a dense fp64 computation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reskd.ops import dispatch
from reskd.ops.interpolate_mse import available_backends, interpolate_mse_loss

GRIDS = [
    ((4, 4), (7, 7)),
    ((1, 1), (7, 7)),
    ((7, 7), (7, 7)),
    ((3, 5), (7, 4)),
    ((7, 7), (4, 4)),
    ((2, 3), (1, 1)),
]
HALF = [torch.float16, torch.bfloat16]


def _matrix(num_out: int, num_in: int) -> Tensor:
    """Bilinear interpolation along one axis as a matrix, from its definition: pixel centers, clamped at the edges."""
    matrix = torch.zeros(num_out, num_in, dtype=torch.float64)
    for row in range(num_out):
        index = max((row + 0.5) * num_in / num_out - 0.5, 0.0)
        low = min(int(index), num_in - 1)
        high = min(low + 1, num_in - 1)
        matrix[row, low] += 1 - (index - low)
        matrix[row, high] += index - low
    return matrix


def _dense(student_BDhw: Tensor, teacher_BDHW: Tensor) -> Tensor:
    rows = _matrix(teacher_BDHW.shape[2], student_BDhw.shape[2])
    columns = _matrix(teacher_BDHW.shape[3], student_BDhw.shape[3])
    student_BDHW = torch.einsum("Hh,bdhw,Ww->bdHW", rows, student_BDhw.double(), columns)
    return (student_BDHW - teacher_BDHW.double()).square().mean()


def _pair(
    small: tuple[int, int], large: tuple[int, int], dtype: torch.dtype, memory_format: torch.memory_format
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student = torch.randn((2, 3, *small), generator=generator).to(dtype).to(memory_format=memory_format)
    teacher = torch.randn((2, 3, *large), generator=generator).to(dtype).to(memory_format=memory_format)
    return student.requires_grad_(), teacher


def test_value_worked_out_by_hand() -> None:
    # Two pixels 0 and 4 become four: 0, 1, 3, 4. Against zeros: (0 + 1 + 9 + 16) / 4.
    student = torch.tensor([0.0, 4.0]).view(1, 1, 1, 2)
    assert interpolate_mse_loss(student, torch.zeros(1, 1, 1, 4)).item() == 6.5


@pytest.mark.parametrize(("small", "large"), GRIDS)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *HALF])
def test_value_and_gradient_match_the_definition(
    small: tuple[int, int], large: tuple[int, int], memory_format: torch.memory_format, dtype: torch.dtype
) -> None:
    student, teacher = _pair(small, large, dtype, memory_format)
    loss = interpolate_mse_loss(student, teacher)
    (gradient,) = torch.autograd.grad(loss, student)
    expected = _dense(student, teacher)
    (expected_gradient,) = torch.autograd.grad(expected, student)
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert loss.shape == ()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-7)
    assert gradient.dtype == dtype
    torch.testing.assert_close(gradient, expected_gradient, rtol={torch.bfloat16: 1e-2}.get(dtype, 2e-3), atol=1e-5)


def test_gradcheck() -> None:
    student, teacher = _pair((2, 3), (5, 4), torch.float64, torch.channels_last)
    assert torch.autograd.gradcheck(lambda x: interpolate_mse_loss(x, teacher), student)


@pytest.mark.parametrize("dtype", HALF)
def test_low_precision_is_computed_in_fp32(dtype: torch.dtype) -> None:
    student, teacher = _pair((4, 4), (7, 7), dtype, torch.contiguous_format)
    assert interpolate_mse_loss(student, teacher) == interpolate_mse_loss(student.float(), teacher.float())


def test_dtypes_may_differ() -> None:
    student, teacher = _pair((4, 4), (7, 7), torch.float16, torch.contiguous_format)
    loss = interpolate_mse_loss(student, teacher.bfloat16())
    assert loss == interpolate_mse_loss(student.float(), teacher.bfloat16().float())


def test_large_half_values_do_not_overflow() -> None:
    student = torch.full((1, 1, 2, 2), 60000.0, dtype=torch.float16)
    assert interpolate_mse_loss(student, torch.zeros(1, 1, 4, 4, dtype=torch.float16)).item() == pytest.approx(
        60000.0**2
    )


@pytest.mark.parametrize("dtype", HALF)
def test_autocast_changes_nothing(dtype: torch.dtype) -> None:
    student, teacher = _pair((4, 4), (7, 7), torch.float32, torch.contiguous_format)
    expected = interpolate_mse_loss(student, teacher)
    with torch.autocast("cpu", dtype):
        loss = interpolate_mse_loss(student, teacher)
    assert loss.dtype == torch.float32
    assert loss == expected
    assert torch.equal(torch.autograd.grad(loss, student)[0], torch.autograd.grad(expected, student)[0])


def test_no_gradient_where_none_is_asked_for() -> None:
    student, teacher = _pair((4, 4), (7, 7), torch.float32, torch.contiguous_format)
    with torch.no_grad():
        assert not interpolate_mse_loss(student, teacher).requires_grad


def test_each_backend_says_why_it_cannot_serve() -> None:
    student, teacher = _pair((4, 4), (7, 7), torch.float32, torch.contiguous_format)
    reasons = available_backends(student, teacher.double())
    assert list(reasons) == ["cuda", "cpu", "reference"]
    assert reasons["reference"] is None
    assert "fp64 pairs with fp64 only" in str(reasons["cpu"])
    assert "these are on cpu" in str(reasons["cuda"])
    assert set(available_backends()) == set(reasons)


def test_what_no_backend_can_serve_is_refused_before_any_is_asked() -> None:
    with pytest.raises(ValueError, match="the same B and D"):
        available_backends(torch.zeros(1, 2, 2, 2), torch.zeros(1, 3, 4, 4))


def test_a_forced_backend_that_cannot_serve_is_found_while_building() -> None:
    with pytest.raises(ValueError, match="'cuda' was requested but cannot run"):
        dispatch.describe_choice("cuda", torch.device("cpu"))
    assert dispatch.describe_choice("reference", torch.device("cpu")) == "plain PyTorch"
    assert "no kernel for meta" in dispatch.describe_choice("auto", torch.device("meta"))


def test_forced_backend_never_falls_back() -> None:
    student, teacher = _pair((4, 4), (7, 7), torch.float32, torch.contiguous_format)
    with pytest.raises(ValueError, match=r"'cuda' was requested but cannot run: .*these are on cpu"):
        interpolate_mse_loss(student, teacher, backend="cuda")
    with pytest.raises(ValueError, match=r"'cpu' was requested but cannot run: fp64"):
        interpolate_mse_loss(student, teacher.double(), backend="cpu")


def test_auto_falls_back_and_says_so_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_why_not_here", lambda backend: "it did not compile")
    monkeypatch.setattr(dispatch, "_said", set())
    student, teacher = _pair((4, 4), (7, 7), torch.float32, torch.contiguous_format)
    for _ in range(3):
        assert interpolate_mse_loss(student, teacher) == interpolate_mse_loss(student, teacher, backend="reference")
    assert [record.getMessage() for record in caplog.records] == [
        "interpolate_mse_loss falls back to plain PyTorch, as the cpu kernel cannot run: it did not compile."
    ]
    assert "it did not compile" in dispatch.describe_choice("auto", torch.device("cpu"))


def test_unknown_backend_is_refused() -> None:
    student, teacher = _pair((4, 4), (7, 7), torch.float32, torch.contiguous_format)
    with pytest.raises(ValueError, match=r"backend: expected one of .*'reference'.*found 'triton'"):
        interpolate_mse_loss(student, teacher, backend="triton")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("student_shape", "teacher_shape", "message"),
    [
        ((2, 3, 4), (2, 3, 7, 7), r"expected \(B, D, h, w\).*\(2, 3, 4\).*\(2, 3, 7, 7\)"),
        ((2, 3, 4, 4), (4, 3, 7, 7), r"the same B and D.*\(2, 3, 4, 4\).*\(4, 3, 7, 7\)"),
        ((2, 3, 4, 4), (2, 5, 7, 7), r"the same B and D.*\(2, 3, 4, 4\).*\(2, 5, 7, 7\)"),
        ((0, 3, 4, 4), (0, 3, 7, 7), r"at least one element.*\(0, 3, 4, 4\)"),
        ((2, 3, 4, 4), (2, 3, 0, 7), r"at least one element.*\(2, 3, 0, 7\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(
    student_shape: tuple[int, ...], teacher_shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        interpolate_mse_loss(torch.zeros(student_shape), torch.zeros(teacher_shape))


def test_devices_that_differ_are_named() -> None:
    with pytest.raises(ValueError, match="student on cpu and teacher on meta"):
        interpolate_mse_loss(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 4, 4, device="meta"))


def test_integers_are_refused() -> None:
    with pytest.raises(TypeError, match=r"teacher: expected fp16.*found torch.uint8"):
        interpolate_mse_loss(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 4, 4, dtype=torch.uint8))


def test_a_teacher_with_a_gradient_is_refused() -> None:
    with pytest.raises(ValueError, match="requires no gradient"):
        interpolate_mse_loss(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 4, 4, requires_grad=True))
