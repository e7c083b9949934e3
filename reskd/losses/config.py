"""Settings of the student's loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from dali_pipes.config import StrictConfig
from reskd.choices import Backend, ClassWeights, Distance, Reduction, ScoreKind, TaskName, TimeMatching
from reskd.extensions.config import MadeByCode, PlainName

DEFAULT_AUTO_STEPS = 20


def _weight_or_auto(value: object) -> object:
    # One sentence; the members of a union would be named one by one.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value != "auto" and not (is_number and 0 <= float(value) <= _LARGEST_WEIGHT):  # type: ignore[arg-type]
        raise ValueError(
            f"expected a number from 0 to {_LARGEST_WEIGHT:g}, or auto, which makes the term's gradient as large as "
            f"the task's, found {str(value)[:200]!r}"
        )
    return value


def _class_weights(value: object) -> object:
    # One sentence; the members of a union would be named one by one.
    weights: Any = value.values() if isinstance(value, Mapping) else value
    if isinstance(value, list | tuple | Mapping) and value and all(map(_is_class_weight, weights)):
        return {str(name): float(weight) for name, weight in value.items()} if isinstance(value, Mapping) else value
    if value not in ("none", "balanced"):
        raise ValueError(
            f"expected none, balanced, or a list or a mapping by class name of numbers from 0 to "
            f"{_LARGEST_CLASS_WEIGHT:g}, found {str(value)[:200]!r}"
        )
    return value


def _is_class_weight(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= float(value) <= _LARGEST_CLASS_WEIGHT  # type: ignore[arg-type]


_LARGEST_WEIGHT, _LARGEST_CLASS_WEIGHT = 1e12, 1e6
Auto = Literal["auto"]
Weight = Annotated[float | Auto, BeforeValidator(_weight_or_auto)]


class PixelLossConfig(StrictConfig):
    alpha: Weight = Field(
        description="weight of the pixel term; the paper's code uses 100; auto: measured, see auto_steps"
    )
    projection: Literal["none", "linear"] = Field(
        "none",
        description="linear: a learned 1x1 projection from the student's channels to the teacher's, more or fewer; "
        "used in training only",
    )
    backend: Backend = Field("auto", description="implementation: auto, cuda, cpu or reference (plain PyTorch)")


class LogitMapLossConfig(StrictConfig):
    alpha: Weight = Field(
        description="weight of the term, a mean over locations and classes; the paper's code uses 200 for 400 classes, "
        "half their number; auto: measured, see auto_steps",
    )
    temperature: float = Field(
        2.0, gt=0, allow_inf_nan=False, description="divides the logits before softmax; its square multiplies the term"
    )


class ScoreLossConfig(StrictConfig):
    alpha: Weight = Field(description="weight of the term, summed over classes; auto: measured, see auto_steps")
    temperature: float = Field(
        2.0, gt=0, allow_inf_nan=False, description="divides the logits before softmax; its square multiplies the term"
    )


class EmbeddingLossConfig(StrictConfig):
    alpha: float = Field(
        ge=0,
        allow_inf_nan=False,
        description="weight of L_rep = ||E_T - E_S||^2; 1 in fewer-frames; 0.001 in our configs of NeXtVLAD",
    )
    reduction: Reduction = Field("sum", description="over the elements of an embedding: sum (the paper's) or mean")


class IntermediateLossConfig(StrictConfig):
    alpha: float = Field(
        ge=0,
        allow_inf_nan=False,
        description="weight of the squared distances between H-RNN's states after the same parts of a video, summed "
        "over the student's blocks but the last; that of embedding makes both the sum over all blocks",
    )


class PredictionLossConfig(StrictConfig):
    alpha: float = Field(
        ge=0, allow_inf_nan=False, description="weight of L_pred; 1 in fewer-frames; 0.01 in our configs of NeXtVLAD"
    )
    distance: Distance = Field(
        "squared_error",
        description="squared_error: of probabilities; kl: of scores normalized to sum to 1 over classes; bernoulli_kl: "
        "of each class on its own, needs sigmoid_bce. All are summed over classes",
    )


class ExtraTermConfig(MadeByCode):
    """A term of the user's: extra_terms.py."""

    alpha: float = Field(ge=0, allow_inf_nan=False, description="weight of the term")
    needs_teacher: bool = Field(True, description="whether the term uses the teacher's output")


class LossConfig(StrictConfig):
    task: TaskName = Field(
        "softmax_ce",
        description="the label loss; for several labels per video: sigmoid_bce, or random_label_ce, which is softmax "
        "cross-entropy with one label drawn each time (the paper's code)",
    )
    task_weight: float = Field(1.0, ge=0, allow_inf_nan=False, description="weight of the label loss; 0 disables it")
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of each label that softmax_ce spreads evenly over all classes (arXiv:1512.00567)",
    )
    class_weights: Annotated[ClassWeights, BeforeValidator(_class_weights)] = Field(
        "none",
        description="multiplies the label loss of each class: balanced is the inverse of its number of training "
        "videos, 1 on average over the videos; or a list in the order of the classes; or a mapping from class names, "
        "in which those left out have 1",
    )
    pixel: PixelLossConfig | None = Field(
        None, description="distillation from the teacher's feature maps; default: off"
    )
    logit_map: LogitMapLossConfig | None = Field(
        None,
        description="distillation from the teacher's class scores at every location of its feature map, for networks "
        "of any two widths; default: off. It can be combined with pixel",
    )
    clip: ScoreLossConfig | None = Field(
        None, description="distillation from the teacher's softmax scores of a clip, clip-level KD; default: off"
    )
    frame: ScoreLossConfig | None = Field(
        None, description="distillation from the teacher's softmax scores of each frame, frame-level KD; default: off"
    )
    embedding: EmbeddingLossConfig | None = Field(
        None, description="distillation from the teacher's embedding of a clip; default: off"
    )
    intermediate: IntermediateLossConfig | None = Field(
        None, description="distillation from an H-RNN teacher's states inside a video; default: off"
    )
    prediction: PredictionLossConfig | None = Field(
        None, description="distillation from the teacher's class scores of a clip; default: off"
    )
    terms: dict[PlainName, ExtraTermConfig] = Field(
        {}, description="terms of your own code, by name: docs/extending.md"
    )
    auto_steps: int = Field(
        DEFAULT_AUTO_STEPS,
        ge=1,
        description="first steps of a run in which the weights of terms with alpha = auto are measured: the norm of "
        "the task's gradient over that of the term's, at the student's feature map; fixed afterwards",
    )
    time: TimeMatching = Field(
        "equal",
        description="which of the teacher's feature frames are compared with the student's: equal requires equal "
        "timestamps; nearest takes the nearest in time (the same frames where the student sees k of T); interpolate "
        "blends the two nearest",
    )

    @property
    def frame_terms(self) -> tuple[str, ...]:
        """Names of the terms that compare feature maps, or scores of them, frame by frame."""
        return tuple(name for name in ("pixel", "logit_map", "frame") if getattr(self, name) is not None)

    @property
    def distillation_terms(self) -> tuple[str, ...]:
        """Names of the terms that need a teacher."""
        names = ("clip", "embedding", "intermediate", "prediction")
        own = tuple(name for name, term in self.terms.items() if term.needs_teacher)
        return self.frame_terms + tuple(name for name in names if getattr(self, name) is not None) + own

    @property
    def softmax_terms(self) -> tuple[str, ...]:
        """Names of the terms that compare softmax scores, whatever the task."""
        return tuple(name for name in ("logit_map", "frame", "clip") if getattr(self, name) is not None)

    @property
    def auto_terms(self) -> tuple[str, ...]:
        """Names of the terms whose weight is measured: auto_weights.py."""
        return tuple(name for name, weight in self.weights.items() if weight == "auto")

    @property
    def weights(self) -> dict[str, float | Auto]:
        """Term name -> weight."""
        own = {name: term.alpha for name, term in self.terms.items()}
        ours = {name: getattr(self, name).alpha for name in self.distillation_terms if name not in own}
        return {"task": self.task_weight} | ours | own

    @property
    def scores(self) -> ScoreKind:
        """The activation that the task trains the logits with."""
        return "sigmoid" if self.task == "sigmoid_bce" else "softmax"

    @model_validator(mode="after")
    def _names_are_free(self) -> LossConfig:
        taken = {"total", *type(self).model_fields}
        if bad := [name for name in self.terms if name in taken]:
            raise ValueError(f"terms.{bad[0]}: expected a name that no term of this program has; choose another")
        return self

    @model_validator(mode="after")
    def _auto_has_a_measure(self) -> LossConfig:
        if self.auto_terms and self.task_weight == 0:
            raise ValueError(
                f"{self.auto_terms[0]}.alpha = auto makes the term's gradient as large as the task's, and task_weight "
                "= 0 leaves none; set alpha to a number, or task_weight above 0"
            )
        if self.auto_steps != DEFAULT_AUTO_STEPS and not self.auto_terms:
            raise ValueError(
                f"auto_steps = {self.auto_steps} applies to terms with alpha = auto only; set the alpha of pixel, "
                "logit_map, frame or clip to auto, or remove auto_steps"
            )
        return self

    @model_validator(mode="after")
    def _smoothing_has_one_label(self) -> LossConfig:
        if self.label_smoothing and self.task != "softmax_ce":
            raise ValueError(
                f"label_smoothing = {self.label_smoothing:g} spreads the one label of a video, and task = {self.task} "
                "learns several; expected softmax_ce, or leave label_smoothing out"
            )
        return self

    @model_validator(mode="after")
    def _terms_fit(self) -> LossConfig:
        if self.time != "equal" and not self.frame_terms:
            raise ValueError(
                f"time = {self.time} applies to feature maps only; add pixel, logit_map or frame, or remove time"
            )
        if self.softmax_terms and self.scores == "sigmoid":
            name = self.softmax_terms[0]
            other = "prediction with bernoulli_kl" if name == "clip" else "pixel"
            raise ValueError(
                f"{name} compares softmax scores, and task = sigmoid_bce trains every class on its own; expected "
                f"softmax_ce or random_label_ce, or use {other} in place of {name}"
            )
        if self.prediction is not None and self.prediction.distance == "bernoulli_kl" and self.scores == "softmax":
            raise ValueError(
                f"prediction.distance = bernoulli_kl compares classes one by one, and task = {self.task} trains them "
                "together; expected sigmoid_bce, or use kl in place of bernoulli_kl"
            )
        if self.task_weight == 0 and not self.distillation_terms:
            raise ValueError("task_weight = 0 leaves nothing to learn; add a distillation term, or remove it")
        return self
