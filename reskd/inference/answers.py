"""What a student says about a video, or why it says nothing.

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
    """What the student says about a video.

    Args:
        file: as it was given.
        logits_K: fp32, on the CPU; of several views the average, whose softmax (or sigmoid) is the score.
        scores_K: fp32.
    """

    file: str
    logits_K: Tensor
    scores_K: Tensor


@dataclass(frozen=True)
class NoAnswer:
    """A file without an answer: bad, or ``skipped`` as it is in a given folder and holds no video."""

    file: str
    reason: str
    skipped: bool = False


def answering_precision(student: TrainedStudent) -> Precision:
    """The training's on a GPU; away from where it trained only fp32 is sure to be there and quick."""
    on_gpu = student.device.type == "cuda"
    return Precision(student.config.training.precision if on_gpu else "fp32", student.device)
