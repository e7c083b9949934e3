"""A student's answer to a video, or the reason why there is none.

Shape letters: T frames, H W heights and widths, C = 3 colors, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from dali_pipes.sampling.spec import TestViews
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
class VideoAnswer(Answer):
    """The same, with frames.

    Args:
        frames_THWC: uint8 RGB, on the CPU: the student's input in the middle view.
    """

    frames_THWC: Tensor


@dataclass(frozen=True)
class NoAnswer:
    """A file without an answer, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class VideoSettings:
    """How videos are read for the student.

    Args:
        test_views: clips and crops of each video; None: those of the student's test.
        batch_size: clips per forward pass.
        scan: "decode" decodes all of a video once; "index_only" counts its packets and decodes what the views need.
    """

    test_views: TestViews | None = None
    batch_size: int = 16
    scan: Literal["decode", "index_only"] = "decode"


DEFAULT_SETTINGS = VideoSettings()


def answering_precision(student: TrainedStudent) -> Precision:
    """The training's precision on a GPU; fp32 on the CPU, where other precisions may be missing or slow."""
    on_gpu = student.device.type == "cuda"
    return Precision(student.config.training.precision if on_gpu else "fp32", student.device)
