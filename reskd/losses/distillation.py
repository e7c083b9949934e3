"""The loss of a student: equation (1) of the ResKD paper, L = L_cls + alpha * MSE(Phi(f_s), f_t)."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field
from torch import Tensor, nn

from dali_pipes.config import StrictConfig
from reskd.losses.pixel import pixel_loss
from reskd.losses.task import TASK_LOSSES, TaskName
from reskd.ops.interpolate_mse import Backend
from reskd.outputs import RecognizerOutput


class PixelLossConfig(StrictConfig):
    alpha: float = Field(ge=0, allow_inf_nan=False, description="weight of the pixel term; the paper's code has 100")
    backend: Backend = Field("auto", description="who computes it: auto, cuda, cpu or reference (plain PyTorch)")


class LossConfig(StrictConfig):
    task: TaskName = Field(
        "softmax_ce",
        description="how the student learns from the labels; several labels a video: sigmoid_bce, or random_label_ce, "
        "softmax cross-entropy with one of them drawn each time (the paper's code)",
    )
    pixel: PixelLossConfig | None = Field(
        None, description="how the student learns from the teacher's feature maps; default: not at all"
    )


class LossTerms(NamedTuple):
    """One step's loss.

    Attributes:
        total: the weighted sum, to call backward on.
        unweighted: term name -> value before its weight, outside the graph. All are fp32 scalars on the device.
    """

    total: Tensor
    unweighted: dict[str, Tensor]


class DistillationLoss(nn.Module):
    """A module, so that terms with parameters live inside the DDP module; these have none."""

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, student: RecognizerOutput, targets: Tensor, teacher: RecognizerOutput | None) -> LossTerms:
        """Task loss of the student, plus the pixel term where the config has one.

        Args:
            student: with a graph.
            targets: int64 (N,) class numbers, or bool (N, K) sets of labels; not the latter for softmax_ce.
            teacher: without a graph; None where no term needs it.

        Raises:
            ValueError: a term needs a teacher and there is none, or the features cannot be compared.
        """
        task = TASK_LOSSES[self.config.task](student.logits_NK, targets)
        if self.config.pixel is None:
            return LossTerms(task, {"task": task.detach()})
        if teacher is None:
            raise ValueError(
                "loss.pixel compares the student with a teacher: expected a teacher, found none; "
                "add one to the config, or leave out loss.pixel."
            )
        pixel = pixel_loss(student.features_NTDHW, teacher.features_NTDHW, backend=self.config.pixel.backend)
        total = task + self.config.pixel.alpha * pixel
        return LossTerms(total, {"task": task.detach(), "pixel": pixel.detach()})
