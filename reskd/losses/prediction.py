"""The prediction term: it compares the student's class scores for a clip with the teacher's.

"Efficient Video Classification Using Fewer Frames" calls it L_pred. One implementation takes the squared error of
probabilities, another a KL divergence. Both are here, and a third: the divergence for classes trained independently.

Note [What normalized means]
A KL divergence compares distributions over classes. Softmax scores are one. Sigmoid scores are K separate
probabilities with any sum, so each is divided by the sum over classes. The result depends on the ratios of a clip's
scores and not on their size: scores (0.8, 0.4) and (0.2, 0.1) have a divergence of 0. bernoulli_kl depends on both.

Shape letters: N clips, K classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from reskd.choices import Distance, ScoreKind
from reskd.losses.dtypes import at_least_fp32


def prediction_loss(student_NK: Tensor, teacher_NK: Tensor, *, distance: Distance, scores: ScoreKind) -> Tensor:
    """Distance between two sets of class scores, summed over classes, mean over clips: a scalar, fp32 (fp64 for fp64).

    squared_error: (p_T - p_S)^2. kl: p_T log(p_T / p_S) of normalized scores, Note [What normalized means].
    bernoulli_kl: p_T log(p_T / p_S) + (1 - p_T) log((1 - p_T) / (1 - p_S)), of sigmoid scores. The gradient goes to
    the student only. Divergences use log scores, so none overflows where a score is nearly 0 or 1.

    Args:
        student_NK, teacher_NK: logits, floating point.
        scores: the activation that the logits were trained with.

    Raises:
        ValueError: the shapes differ, or bernoulli_kl of softmax scores.
    """
    if student_NK.ndim != 2 or student_NK.shape != teacher_NK.shape:
        raise ValueError(
            "the prediction term compares class scores: expected (N, K) of both, found student "
            f"{tuple(student_NK.shape)} and teacher {tuple(teacher_NK.shape)}; both must know the same classes."
        )
    with torch.autocast(student_NK.device.type, enabled=False):
        student_NK, teacher_NK = at_least_fp32(student_NK, teacher_NK)
        if distance == "squared_error":
            distance_NK = (_probabilities(student_NK, scores) - _probabilities(teacher_NK, scores)).square()
        elif distance == "kl":
            distance_NK = _kl(_log_normalized(student_NK, scores), _log_normalized(teacher_NK, scores))
        elif scores == "sigmoid":
            distance_NK = _kl(F.logsigmoid(student_NK), F.logsigmoid(teacher_NK))
            distance_NK = distance_NK + _kl(F.logsigmoid(-student_NK), F.logsigmoid(-teacher_NK))
        else:
            raise ValueError(
                "bernoulli_kl compares classes one by one: expected sigmoid scores, found softmax scores; use kl."
            )
        return distance_NK.sum(1).mean()


def _probabilities(logits_NK: Tensor, scores: ScoreKind) -> Tensor:
    return logits_NK.sigmoid() if scores == "sigmoid" else logits_NK.softmax(1)


def _log_normalized(logits_NK: Tensor, scores: ScoreKind) -> Tensor:
    # log_softmax(log p) = log(p / sum of p).
    return (F.logsigmoid(logits_NK) if scores == "sigmoid" else logits_NK).log_softmax(1)


def _kl(student_log_NK: Tensor, teacher_log_NK: Tensor) -> Tensor:
    """p_T log(p_T / p_S), elementwise."""
    return teacher_log_NK.exp() * (teacher_log_NK - student_log_NK)
