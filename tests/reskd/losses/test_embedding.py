"""The code term against values worked by hand."""

from __future__ import annotations

import pytest
import torch

from reskd.choices import Reduction
from reskd.losses.embedding import check_embeddings, embedding_loss

STUDENT_NE = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
TEACHER_NE = torch.tensor([[4.0, 6.0], [0.0, 1.0]])


# (9 + 16, 0 + 1): mean over clips of 25 and 1, or of 12.5 and 0.5.
@pytest.mark.parametrize(("reduction", "expected"), [("sum", 13.0), ("mean", 6.5)])
def test_it_is_the_squared_distance_mean_over_clips(reduction: Reduction, expected: float) -> None:
    assert embedding_loss(STUDENT_NE, TEACHER_NE, reduction=reduction) == expected


def test_the_gradient_is_that_of_the_formula_and_goes_to_the_student_only() -> None:
    student, teacher = STUDENT_NE.clone().requires_grad_(), TEACHER_NE.clone().requires_grad_()
    embedding_loss(student, teacher, reduction="sum").backward()
    assert torch.equal(student.grad, (STUDENT_NE - TEACHER_NE))  # type: ignore[arg-type]  # 2 (s - t) / 2 clips
    assert teacher.grad is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_squares_beyond_half_precision_are_fp32_under_autocast_too(dtype: torch.dtype) -> None:
    student, teacher = torch.full((1, 4), 300.0, dtype=dtype), torch.zeros(1, 4, dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = embedding_loss(student, teacher, reduction="sum")
    assert loss.dtype == torch.float32 and loss.item() == 4 * 90_000


def test_codes_of_other_sizes_are_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"expected \(N, E\) of both, found student \(2, 2\) and teacher \(2, 1\)"):
        embedding_loss(STUDENT_NE, TEACHER_NE[:, :1], reduction="sum")
    with pytest.raises(ValueError, match=r"found 4096 \(student\) and 1024 \(teacher\); use loss.prediction"):
        check_embeddings(student_dim=4096, teacher_dim=1024)
    with pytest.raises(
        ValueError, match="expected a teacher with an embedding, found one without; use loss.prediction"
    ):
        check_embeddings(student_dim=4096, teacher_dim=None)
