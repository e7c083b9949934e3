"""The loss of a student: equation (1) of the ResKD paper, L = L_cls + alpha * MSE(Phi(f_s), f_t), and its kin.

Shape letters: N clips, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from pydantic import Field, model_validator
from torch import Tensor, nn

from dali_pipes.config import StrictConfig
from reskd.losses.logit_map import logit_map_loss
from reskd.losses.pixel import check_widths, pixel_loss
from reskd.losses.projection import Projection
from reskd.losses.task import TASK_LOSSES, TaskName
from reskd.losses.time_match import Moments, TimeMatching, at_moments, match_moments
from reskd.ops.interpolate_mse import Backend
from reskd.outputs import RecognizerOutput


class PixelLossConfig(StrictConfig):
    alpha: float = Field(ge=0, allow_inf_nan=False, description="weight of the pixel term; the paper's code has 100")
    projection: Literal["none", "linear"] = Field(
        "none",
        description="linear learns a 1x1 projection of the student's features to the teacher's channels, which may be "
        "more or fewer; it is part of training only",
    )
    backend: Backend = Field("auto", description="who computes it: auto, cuda, cpu or reference (plain PyTorch)")


class LogitMapLossConfig(StrictConfig):
    alpha: float = Field(
        ge=0,
        allow_inf_nan=False,
        description="weight of the term, a mean over places and classes; the paper's code has 200 for 400 classes, "
        "half their number",
    )
    temperature: float = Field(
        2.0, gt=0, allow_inf_nan=False, description="divides the scores before softmax; the term is times its square"
    )


class LossConfig(StrictConfig):
    task: TaskName = Field(
        "softmax_ce",
        description="how the student learns from the labels; several labels a video: sigmoid_bce, or random_label_ce, "
        "softmax cross-entropy with one of them drawn each time (the paper's code)",
    )
    pixel: PixelLossConfig | None = Field(
        None, description="how the student learns from the teacher's feature maps; default: not at all"
    )
    logit_map: LogitMapLossConfig | None = Field(
        None,
        description="how the student learns from the teacher's class scores at every place of its feature map, for "
        "networks of any two widths; default: not at all. It may stand beside pixel",
    )
    time: TimeMatching = Field(
        "equal",
        description="which of the teacher's feature frames are compared with the student's: equal refuses a teacher "
        "with other moments than the student's; nearest takes the nearest in time (the same frames where the student "
        "sees k of T); interpolate takes what lies between the two nearest",
    )

    @property
    def distillation_terms(self) -> tuple[str, ...]:
        """Names of the terms that need a teacher."""
        terms = {"pixel": self.pixel, "logit_map": self.logit_map}
        return tuple(name for name, settings in terms.items() if settings is not None)

    @model_validator(mode="after")
    def _terms_fit(self) -> LossConfig:
        if self.time != "equal" and not self.distillation_terms:
            raise ValueError(
                f"time = {self.time} matches features with a teacher's; add pixel or logit_map, or remove it"
            )
        if self.logit_map is not None and self.task == "sigmoid_bce":
            raise ValueError(
                "logit_map compares softmax scores, and task = sigmoid_bce trains every class by itself; expected "
                "softmax_ce or random_label_ce, or use pixel in place of logit_map"
            )
        return self


@dataclass(frozen=True)
class FeaturePair:
    """What is known of two networks' last feature maps before a clip is seen.

    Attributes:
        student_dim, teacher_dim: channels.
        student_moments, teacher_moments: of each feature frame, see time_match.py.
    """

    student_dim: int
    teacher_dim: int
    student_moments: Moments
    teacher_moments: Moments


class LossTerms(NamedTuple):
    """One step's loss.

    Attributes:
        total: the weighted sum, to call backward on.
        unweighted: term name -> value before its weight, outside the graph. All are fp32 scalars on the device.
    """

    total: Tensor
    unweighted: dict[str, Tensor]


class DistillationLoss(nn.Module):
    """A module, so that the projection lives inside the DDP module, the optimizer and the checkpoint.

    The classifiers are no part of it: each recogniser gives its own logit map, so no parameter has two owners.

    Args:
        pair: of student and teacher; without it they are taken to have the same channels and moments.

    Raises:
        ValueError: the terms cannot compare such a pair.
    """

    def __init__(self, config: LossConfig, pair: FeaturePair | None = None) -> None:
        super().__init__()
        self.config = config
        self.moments = None
        self.projection: Projection | None = None
        has_projection = config.pixel is not None and config.pixel.projection == "linear"
        if pair is None:
            if has_projection or config.time != "equal":
                raise ValueError(
                    "loss.pixel.projection and loss.time depend on both networks: expected a FeaturePair, found none; "
                    "give one, as build_networks does."
                )
            return
        self.moments = match_moments(config.time, student=pair.student_moments, teacher=pair.teacher_moments)
        if has_projection:
            self.projection = Projection(pair.student_dim, pair.teacher_dim)
        elif config.pixel is not None:
            check_widths(student_dim=pair.student_dim, teacher_dim=pair.teacher_dim)

    def forward(self, student: RecognizerOutput, targets: Tensor, teacher: RecognizerOutput | None) -> LossTerms:
        """Task loss of the student, plus the terms that the config has.

        Args:
            student: with a graph.
            targets: int64 (N,) class numbers, or bool (N, K) sets of labels; not the latter for softmax_ce.
            teacher: without a graph; None where no term needs it.

        Raises:
            ValueError: a term needs a teacher and there is none, or the features cannot be compared.
        """
        task = TASK_LOSSES[self.config.task](student.logits_NK, targets)
        total, unweighted = task, {"task": task.detach()}
        if not self.config.distillation_terms:
            return LossTerms(total, unweighted)
        if teacher is None:
            name = self.config.distillation_terms[0]
            raise ValueError(
                f"loss.{name} compares the student with a teacher: expected a teacher, found none; "
                f"add one to the config, or leave out loss.{name}."
            )
        if self.config.pixel is not None:
            pixel = self._pixel(self.config.pixel, student, teacher)
            total, unweighted["pixel"] = total + self.config.pixel.alpha * pixel, pixel.detach()
        if self.config.logit_map is not None:
            logit_map = self._logit_map(self.config.logit_map, student, teacher)
            total, unweighted["logit_map"] = total + self.config.logit_map.alpha * logit_map, logit_map.detach()
        return LossTerms(total, unweighted)

    def _pixel(self, config: PixelLossConfig, student: RecognizerOutput, teacher: RecognizerOutput) -> Tensor:
        features_NTDhw = student.features_NTDHW
        if features_NTDhw is None or teacher.features_NTDHW is None:
            raise ValueError(
                "loss.pixel compares feature maps: expected networks that see pixels, found one that sees features; "
                "use loss.code or loss.prediction in place of loss.pixel."
            )
        if self.projection is not None:
            features_NTDhw = self.projection(features_NTDhw)
        teacher_NTDHW = at_moments(teacher.features_NTDHW, self.moments)
        return pixel_loss(features_NTDhw, teacher_NTDHW, backend=config.backend)

    def _logit_map(self, config: LogitMapLossConfig, student: RecognizerOutput, teacher: RecognizerOutput) -> Tensor:
        if student.logit_map_NTKHW is None or teacher.logit_map_NTKHW is None:
            raise ValueError(
                "loss.logit_map needs class scores at every place: expected recognisers with gives_logit_map = True, "
                "found one without; build_networks sets it."
            )
        teacher_NTKHW = at_moments(teacher.logit_map_NTKHW, self.moments)
        return logit_map_loss(student.logit_map_NTKHW, teacher_NTKHW, temperature=config.temperature)
