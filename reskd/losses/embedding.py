"""The embedding term of "Efficient Video Classification Using Fewer Frames": L_rep = ||E_T - E_S||^2.

Shape letters: N clips, E embedding size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reskd.choices import Reduction
from reskd.losses.dtypes import at_least_fp32


def embedding_loss(student_NE: Tensor, teacher_NE: Tensor, *, reduction: Reduction) -> Tensor:
    """Squared distance between two embeddings, mean over clips: a scalar in fp32 (fp64 for fp64), also under autocast.

    The gradient goes to the student only.

    Args:
        student_NE, teacher_NE: floating point.
        reduction: over the E elements of an embedding: sum is the paper's formula, mean does not grow with E.

    Raises:
        ValueError: the shapes differ.
    """
    if student_NE.ndim != 2 or student_NE.shape != teacher_NE.shape:
        raise ValueError(
            "loss.embedding compares one vector per clip: expected (N, E) of both, found student "
            f"{tuple(student_NE.shape)} and teacher {tuple(teacher_NE.shape)}; use loss.prediction in place of "
            "loss.embedding, or aggregators with embeddings of one size."
        )
    with torch.autocast(student_NE.device.type, enabled=False):
        student_NE, teacher_NE = at_least_fp32(student_NE, teacher_NE)
        squares_NE = (student_NE - teacher_NE).square()
        return (squares_NE.sum(1) if reduction == "sum" else squares_NE.mean(1)).mean()


def check_embeddings(*, student_dim: int | None, teacher_dim: int | None) -> None:
    """Raises ValueError where a network has no embedding, or the embeddings differ in size."""
    for name, embedding_dim in (("student", student_dim), ("teacher", teacher_dim)):
        if embedding_dim is None:
            raise ValueError(
                f"loss.embedding compares the embeddings of aggregators: expected a {name} with an embedding, found "
                "one without; use loss.prediction in place of loss.embedding, or a network with an aggregator "
                "(family: features or aggregated)."
            )
    if student_dim != teacher_dim:
        raise ValueError(
            f"loss.embedding compares embeddings element by element: expected equal sizes E, found {student_dim} "
            f"(student) and {teacher_dim} (teacher); use loss.prediction in place of loss.embedding, or aggregators "
            "with embeddings of one size."
        )
