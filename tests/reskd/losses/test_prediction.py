"""The prediction term against values worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from reskd.choices import Distance, ScoreKind
from reskd.losses.prediction import prediction_loss

ALL = [
    ("squared_error", "softmax"),
    ("squared_error", "sigmoid"),
    ("kl", "softmax"),
    ("kl", "sigmoid"),
    ("bernoulli_kl", "sigmoid"),
]


def logits_of(probabilities: list[list[float]]) -> Tensor:
    return torch.tensor(probabilities, dtype=torch.float64).logit()


STUDENT_NK, TEACHER_NK = logits_of([[0.5, 0.25]]), logits_of([[0.75, 0.25]])


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        ("squared_error", 0.25**2),
        # Normalized: (2/3, 1/3) and (3/4, 1/4).
        ("kl", 0.75 * math.log(0.75 / (2 / 3)) + 0.25 * math.log(0.25 / (1 / 3))),
        ("bernoulli_kl", 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)),
    ],
)
def test_sigmoid_scores_by_hand(distance: Distance, expected: float) -> None:
    assert prediction_loss(STUDENT_NK, TEACHER_NK, distance=distance, scores="sigmoid").item() == pytest.approx(
        expected
    )


@pytest.mark.parametrize(("distance", "expected"), [("squared_error", 2 * 0.25**2), ("kl", 0.130812)])
def test_softmax_scores_by_hand(distance: Distance, expected: float) -> None:
    student_NK, teacher_NK = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3), 0.0]])  # (1/2, 1/2), (3/4, 1/4)
    assert prediction_loss(student_NK, teacher_NK, distance=distance, scores="softmax").item() == pytest.approx(
        expected
    )


@pytest.mark.parametrize(("distance", "scores"), ALL)
def test_classes_are_summed_and_clips_averaged(distance: Distance, scores: ScoreKind) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 7), torch.randn(5, 7)
    each = [prediction_loss(student[n : n + 1], teacher[n : n + 1], distance=distance, scores=scores) for n in range(5)]
    torch.testing.assert_close(
        prediction_loss(student, teacher, distance=distance, scores=scores), torch.stack(each).mean()
    )
    assert min(each) > 0
    assert prediction_loss(teacher, teacher, distance=distance, scores=scores).abs() < 1e-6


@pytest.mark.parametrize(("distance", "scores"), ALL)
def test_the_gradient_is_right_and_goes_to_the_student_only(distance: Distance, scores: ScoreKind) -> None:
    torch.manual_seed(0)
    student, teacher = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    prediction_loss(student, teacher, distance=distance, scores=scores).backward()
    assert student.grad is not None and student.grad.abs().sum() > 0 and teacher.grad is None
    assert torch.autograd.gradcheck(
        lambda logits: prediction_loss(logits, teacher.detach(), distance=distance, scores=scores), student
    )


def test_the_gradient_of_bernoulli_kl_is_the_difference_of_probabilities() -> None:
    student = STUDENT_NK.clone().requires_grad_()
    prediction_loss(student, TEACHER_NK, distance="bernoulli_kl", scores="sigmoid").backward()
    torch.testing.assert_close(student.grad, torch.tensor([[0.5 - 0.75, 0.0]], dtype=torch.float64))


@pytest.mark.parametrize(("distance", "scores"), ALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_sure_scores_stay_finite_in_fp32(distance: Distance, scores: ScoreKind, dtype: torch.dtype) -> None:
    student = torch.tensor([[200.0, -200.0, 90.0]], dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[-200.0, 200.0, 90.0]], dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = prediction_loss(student, teacher, distance=distance, scores=scores)
    loss.backward()
    assert loss.dtype == torch.float32 and loss.isfinite() and loss > 0.5
    assert student.grad is not None and student.grad.isfinite().all()


def test_normalized_sigmoid_scores_forget_how_large_they_are_and_bernoulli_kl_does_not() -> None:
    low, high = logits_of([[0.2, 0.1]]), logits_of([[0.8, 0.4]])
    assert prediction_loss(low, high, distance="kl", scores="sigmoid").item() == pytest.approx(0, abs=1e-12)
    assert prediction_loss(low, high, distance="bernoulli_kl", scores="sigmoid") > 0.5


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"found student \(1, 2\) and teacher \(1, 1\); both must know the same classes"
    ):
        prediction_loss(STUDENT_NK, TEACHER_NK[:, :1], distance="kl", scores="softmax")
    with pytest.raises(ValueError, match="expected sigmoid scores, found softmax scores; use kl"):
        prediction_loss(STUDENT_NK, TEACHER_NK, distance="bernoulli_kl", scores="softmax")
