"""From a config to its networks and their loss, checked against each other, without data."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch

from dali_pipes.feature_config import FeatureDataConfig
from dali_pipes.views import student_frames
from reskd.config import ExperimentConfig, load_config
from reskd.evaluation.metrics import Scores
from reskd.losses.distillation import DistillationLoss, FeaturePair
from reskd.losses.time_match import moments_of
from reskd.models.config import FeaturesConfig, RecognizerConfig, difference
from reskd.models.recognizer import Recognizer
from reskd.models.registry import build_recognizer
from reskd.models.teacher import Teacher
from reskd.models.weight_files import read_weight_file
from reskd.models.weights import load_recognizer_state

ViewName = Literal["student", "teacher"]


def build_networks(
    config: ExperimentConfig, *, num_classes: int, device: torch.device
) -> tuple[Recognizer, Teacher | None, DistillationLoss]:
    """Student, teacher and loss. The student's initialisation depends on the seed alone.

    Args:
        device: where they end up; on the meta device no weights are read.

    Raises:
        ValueError: a view that a network cannot take; a loss that cannot compare the two; weights that do not fit.
    """
    torch.manual_seed(config.seed)
    with device if device.type == "meta" else nullcontext():
        student = build_recognizer(config.student, num_classes).to(device)
        _check_view(config, "student", student)
        if not config.teacher:
            return student, None, DistillationLoss(config.loss)
        teacher = Teacher(build_recognizer(teacher_model(config), num_classes).to(device), config.teacher)
        _check_view(config, "teacher", teacher.model)
        loss = DistillationLoss(config.loss, _feature_pair(config, student, teacher)).to(device)
    if config.loss.logit_map:
        _check_scores(config, teacher)
        student.gives_logit_map = teacher.model.gives_logit_map = True
    return student, teacher, loss


def check_networks(config: ExperimentConfig) -> None:
    """Build both networks and the loss without memory or weights, so that what cannot be is told before any work.

    Raises:
        ValueError: as build_networks.
    """
    build_networks(config, num_classes=2, device=torch.device("meta"))


def _check_view(config: ExperimentConfig, name: ViewName, model: Recognizer) -> None:
    try:
        model.check_shape(view_shapes(config)[name])
        _check_groups(config, model)
    except ValueError as error:
        raise ValueError(f"the {name}'s view does not suit its network: {error}") from None


def _check_groups(config: ExperimentConfig, model: Recognizer) -> None:
    """Groups of the same sizes in another order would pass for each other."""
    if isinstance(config.data, FeatureDataConfig) and isinstance(model.config, FeaturesConfig):
        mine, given = list(model.config.groups.items()), list(config.data.groups.items())
        if mine != given:
            raise ValueError(f"expected data.groups {given}, in that order, found groups {mine}; make them the same.")


def _feature_pair(config: ExperimentConfig, student: Recognizer, teacher: Teacher) -> FeaturePair:
    num_frames = config.clips.sampling.num_frames
    seen = student_frames(config.clips.views.student.num_frames, num_frames)
    return FeaturePair(
        student_dim=student.feature_dim,
        teacher_dim=teacher.feature_dim,
        student_moments=moments_of(seen, student.num_feature_frames(len(seen))),
        teacher_moments=moments_of(range(num_frames), teacher.model.num_feature_frames(num_frames)),
    )


def _check_scores(config: ExperimentConfig, teacher: Teacher) -> None:
    """Refuse a teacher whose scores mean nothing to a softmax, or nothing at all."""
    if scores_of(config, "teacher") == "sigmoid":
        raise ValueError(
            "loss.logit_map compares softmax scores, and the teacher's stage was trained with loss.task = sigmoid_bce; "
            "expected a teacher trained with softmax_ce or random_label_ce, or loss.pixel in place of loss.logit_map."
        )
    bias_K = teacher.model.head.bias
    # New heads have biases of 0 to the last bit, trained ones never.
    if not bias_K.is_meta and not bias_K.any():
        raise ValueError(
            "loss.logit_map asks the teacher's head for scores, and this one was never trained (its biases are all 0); "
            "expected the checkpoint of a teacher trained on these classes, not of a backbone."
        )


def teacher_model(config: ExperimentConfig) -> RecognizerConfig:
    """The teacher's architecture with the weights it starts from."""
    assert config.teacher is not None
    if config.teacher.model:
        return config.teacher.model
    stage = load_stage(config)
    return stage.student.model_copy(update={"weights": str(stage.folder / "last.pt"), "weights_head": "keep"})


def load_stage(config: ExperimentConfig) -> ExperimentConfig:
    """The config of the teacher's stage, in the same folder of runs and on the same device."""
    assert config.teacher is not None
    assert config.teacher.stage is not None
    stage = load_config(config.teacher.stage, [f"runs={config.runs}", f"device={config.device}"])
    if isinstance(config.data, FeatureDataConfig):
        return stage
    view, seen = stage.clips.views.student, config.data.views.teacher
    assert seen is not None
    if view.size != seen.size:
        raise ValueError(
            f"{config.teacher.stage} trains a teacher on views of {view.size}, but data.views.teacher.size is "
            f"{seen.size}; expected the same."
        )
    return stage


def check_teacher_classes(config: ExperimentConfig, class_names: tuple[str, ...]) -> None:
    """A teacher of other classes would teach nonsense. Weights that carry no class names are trusted."""
    if not config.teacher:
        return
    weights = teacher_model(config).weights
    if not Path(weights).is_file():
        return
    names = read_weight_file(Path(weights)).class_names
    if names is not None and list(names) != list(class_names):
        raise ValueError(
            f"the teacher in {weights} knows {len(names)} classes ({', '.join(names[:3])}, ...), the training list has "
            f"{len(class_names)} ({', '.join(class_names[:3])}, ...); expected the same, in the same order."
        )


def build_evaluated_model(
    config: ExperimentConfig, state: Mapping[str, Any], *, which: ViewName, source: str, device: torch.device
) -> Recognizer:
    """The student of a checkpoint, or the teacher that the config names, with running statistics like any model.

    Raises:
        ValueError: the checkpoint holds another architecture, or there is no teacher.
    """
    num_classes = len(state["class_names"])
    if which == "student":
        _check_same_student(config, state, source)
        model = build_recognizer(config.student.model_copy(update={"weights": "none"}), num_classes)
        load_recognizer_state(model, state["student"], source=source)
        return model.to(device)
    if config.teacher is None:
        raise ValueError("asked for the teacher, but the config names none; evaluate the teacher's own run instead.")
    return build_recognizer(teacher_model(config), num_classes).to(device)


def _check_same_student(config: ExperimentConfig, state: Mapping[str, Any], source: str) -> None:
    """Strides and pixel statistics leave no trace in the weights, but change every answer."""
    found = difference(config.student, state["config"]["student"])
    if found:
        key, mine, trained = found
        raise ValueError(
            f"{source} was trained with student.{key} = {trained!r}, the config has {mine!r}; "
            "evaluate it under the config it was trained with (config.yaml in its folder)."
        )


def scores_of(config: ExperimentConfig, which: ViewName = "student") -> Scores:
    """What the model's logits were trained to be; a teacher without a stage is taken to be trained like the student."""
    if which == "teacher" and config.teacher and config.teacher.stage:
        config = load_stage(config)
    return "sigmoid" if config.loss.task == "sigmoid_bce" else "softmax"


def view_shapes(config: ExperimentConfig) -> dict[str, tuple[int, ...]]:
    """The views that the networks of this experiment see: name -> (T, H, W), or (T, D) of features."""
    if isinstance(config.data, FeatureDataConfig):
        of_frame, num_frames = (config.data.feature_dim,), config.data.max_frames
        seen: dict[str, tuple[int, ...]] = {"student": (config.data.views.student.num_frames or num_frames, *of_frame)}
        return seen | ({"teacher": (num_frames, *of_frame)} if config.teacher else {})
    views, num_frames = config.data.views, config.data.sampling.num_frames
    size = views.student.size
    if views.student.upsample_to_teacher:
        assert views.teacher is not None
        size = views.teacher.size
    shapes: dict[str, tuple[int, ...]] = {"student": (views.student.num_frames or num_frames, *size)}
    if config.teacher and views.teacher:
        shapes["teacher"] = (num_frames, *views.teacher.size)
    return shapes
