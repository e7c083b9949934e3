"""A student's answer to a video, or the reason why there is none.

Shape letters: K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from reskd.inference.student import TrainedStudent
from reskd.training.precision import Precision

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Answer:
    """The student's class scores for a video.

    Args:
        file: as the user gave it.
        logits_K: fp32, on the CPU; averaged over the views; their softmax (or sigmoid) is the score.
        scores_K: fp32.
    """

    file: str
    logits_K: Tensor
    scores_K: Tensor


@dataclass(frozen=True)
class NoAnswer:
    """A file without an answer, and why."""

    file: str
    reason: str


def answering_precision(student: TrainedStudent) -> Precision:
    """The training's precision on a GPU; fp32 on the CPU, where other precisions may be missing or slow."""
    on_gpu = student.device.type == "cuda"
    return Precision(student.config.training.precision if on_gpu else "fp32", student.device)
