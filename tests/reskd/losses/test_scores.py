"""Clip and frame terms against a loop in plain arithmetic, their gradient, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from reskd.losses.scores import score_loss


def _scores(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(len(shape))
    student, teacher = (3 * torch.randn(shape, generator=generator).double() for _ in range(2))
    return student, teacher


def _probabilities(scores: list[float], temperature: float) -> list[float]:
    powers = [math.exp(score / temperature) for score in scores]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (1, 1)])
def test_equals_the_loop_over_rows_and_classes(shape: tuple[int, ...], temperature: float) -> None:
    student, teacher = _scores(*shape)
    rows = list(zip(student.flatten(0, -2).tolist(), teacher.flatten(0, -2).tolist(), strict=True))
    total = 0.0
    for mine, theirs in rows:
        p, q = _probabilities(theirs, temperature), _probabilities(mine, temperature)
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    found = score_loss(student, teacher, temperature=temperature)
    assert found.item() == pytest.approx(temperature**2 * total / len(rows), rel=1e-12, abs=1e-12)


def test_the_gradient_is_the_difference_of_probabilities_and_goes_to_the_student_alone() -> None:
    student, teacher = (scores.requires_grad_() for scores in _scores(3, 4))
    score_loss(student, teacher, temperature=2).backward()
    assert student.grad is not None and teacher.grad is None
    expected = 2 * ((student / 2).softmax(1) - (teacher / 2).softmax(1)) / 3
    torch.testing.assert_close(student.grad, expected.detach())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_compared_in_fp32(dtype: torch.dtype) -> None:
    student, teacher = (scores.to(dtype) for scores in _scores(2, 3, 4))
    with torch.autocast("cpu", torch.bfloat16):
        found = score_loss(student, teacher, temperature=2)
    assert found.dtype == torch.float32 and found == score_loss(student.float(), teacher.float(), temperature=2)


@pytest.mark.parametrize(
    ("mine", "theirs"), [((2, 3), (2, 4)), ((2, 2, 3), (2, 3, 3)), ((2, 3), (2, 1, 3)), ((3,), (3,))]
)
def test_other_shapes_are_refused(mine: tuple[int, ...], theirs: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(N, K\) or \(N, T, K\) of both, found student"):
        score_loss(torch.zeros(mine), torch.zeros(theirs), temperature=2)
