"""Builds a config's networks and loss and checks them against each other, without data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from dali_pipes.sampling.spec import student_frames
from reskd.choices import ScoreKind
from reskd.experiment.config import ExperimentConfig, ViewName, load_config, referred_stage
from reskd.experiment.data import data_of
from reskd.experiment.renamed_keys import check_names_are_current
from reskd.experiment.teacher_checks import (
    check_each_is_trainable,
    check_maps_learn,
    check_scores,
    share_head,
    take_head,
)
from reskd.extensions.locate import find
from reskd.losses.distillation import DistillationLoss, FeaturePair
from reskd.losses.temporal_alignment import Timestamps, timestamps_of
from reskd.models.config import RecognizerConfig, difference, network_name, without_kept_parts
from reskd.models.families.registry import build_recognizer
from reskd.models.python_config import PythonConfig
from reskd.models.recognizer import Recognizer, data_shape
from reskd.models.teacher import Teacher
from reskd.models.weights.files import read_weight_file
from reskd.models.weights.load import load_recognizer_state

AnyTeacher = Teacher | Recognizer  # frozen, or joint


def build_networks(
    config: ExperimentConfig, *, num_classes: int, device: torch.device, stage: ExperimentConfig | None = None
) -> tuple[Recognizer, AnyTeacher | None, DistillationLoss]:
    """Student, teacher and loss. The student's initialization depends on the seed alone.

    Args:
        device: of all three; on the meta device no weights are read.
        stage: the config of the teacher's stage, if its file is not there yet; else the file is read.

    Raises:
        ValueError: a view that a network cannot take; a loss that cannot compare the two; weights that do not fit;
            a network without trainable weights.
    """
    torch.manual_seed(config.seed)
    with device if device.type == "meta" else nullcontext():
        student = build_recognizer(student_model(config), num_classes).to(device)
        if config.optimizer.layer_decay is not None:
            student.layers_below_head()  # refuses a backbone whose layers are not known
        _check_view(config, "student", student)
        if not config.teacher:
            return student, None, DistillationLoss(config.loss)
        teacher = build_recognizer(teacher_model(config, stage), num_classes).to(device)
        _check_view(config, "teacher", teacher)
        loss = DistillationLoss(config.loss, _feature_pair(config, student, teacher)).to(device)
    check_maps_learn(config, student)
    check_scores(config, teacher, scores=scores_of(config, "teacher", stage))
    if config.loss.logit_map:
        student.gives_logit_map = teacher.gives_logit_map = True
    if config.loss.frame:
        student.gives_frame_logits = teacher.gives_frame_logits = True
    if config.loss.intermediate:
        student.gives_block_states = teacher.gives_block_states = True
    is_joint = config.teacher.update == "joint"
    if config.teacher.shares_head and is_joint:
        share_head(student, teacher)
    elif config.teacher.shares_head:
        take_head(student, teacher, batch_norm=config.teacher.batch_norm)
    if config.optimizer.layer_decay is not None and is_joint:
        teacher.layers_below_head()
    check_each_is_trainable(student, teacher if is_joint else None, loss)
    if device.type == "meta" and config.loss.terms:
        _try_own_terms(config, student, teacher, loss)
    return student, teacher if is_joint else Teacher(teacher, config.teacher), loss


def check_networks(config: ExperimentConfig, *, stage: ExperimentConfig | None = None) -> None:
    """Build both networks and the loss without memory or weights, to report mismatches before any work.

    Args:
        stage: as in build_networks.

    Raises:
        ValueError: as build_networks.
    """
    build_networks(config, num_classes=2, device=torch.device("meta"), stage=stage)
    for name, metric in config.metrics.items():
        find(metric.build, "metric", f"metrics.{name}.build")
    for name, logger in config.loggers.items():
        find(logger.build, "logger", f"loggers.{name}.build")


def _try_own_terms(config: ExperimentConfig, student: Recognizer, teacher: Recognizer, loss: DistillationLoss) -> None:
    """Call the user's loss terms once on outputs without values, so that a misfit shows before anything is trained."""
    shapes = view_shapes(config)
    with torch.no_grad(), torch.device("meta"):
        mine = student(torch.empty(data_shape(shapes["student"], 2), dtype=torch.uint8))
        theirs = teacher(torch.empty(data_shape(shapes["teacher"], 2), dtype=torch.uint8))
        assert loss.extra is not None
        several = config.loss.task != "softmax_ce"
        targets = torch.zeros((2, student.num_classes), dtype=torch.bool) if several else torch.zeros(2).long()
        loss.extra.check(mine, theirs, targets)


def _check_view(config: ExperimentConfig, name: ViewName, model: Recognizer) -> None:
    try:
        model.check_shape(view_shapes(config)[name])
        data_of(config).check_network(model.config)
    except ValueError as error:
        view, network = f"data.views.{view_of(config, name)}", network_name(model.config)
        whose = f"{network}, the {name}" if config.teacher else network  # without a teacher it may become one itself
        raise ValueError(f"{view} does not suit {whose}: {error}") from None


def _feature_pair(config: ExperimentConfig, student: Recognizer, teacher: Recognizer) -> FeaturePair:
    num_frames = view_shapes(config)["teacher"][0]
    shares_view = view_of(config, "teacher") == "student"
    student_timestamps: Timestamps = ()
    teacher_timestamps: Timestamps = ()
    if config.data.views.student.selection == "random" and config.loss.frame_terms and not shares_view:
        raise ValueError(
            "data.views.student.selection = random draws other frames of each clip, which "
            f"loss.{config.loss.frame_terms[0]} cannot match with the teacher's; expected a fixed selection such as "
            "uniform, or only terms on whole clips."
        )
    for name, model in (("student", student), ("teacher", teacher)):
        if config.loss.frame_terms and model.feature_dim is None and isinstance(model.config, PythonConfig):
            raise ValueError(
                f"loss.{config.loss.frame_terms[0]} compares feature maps, and the {name}, "
                f"{network_name(model.config)}, gives none: expected features in what it returns, or the name of a "
                "module in its setting features; set one, or use loss.clip."
            )
    if config.loss.frame_terms and student.feature_dim is not None and teacher.feature_dim is not None:
        view = config.data.views.student
        everything = range(num_frames)
        chosen = everything if shares_view else student_frames(view.num_frames, num_frames, view.selection)
        student_timestamps = timestamps_of(chosen, student.num_feature_frames(len(chosen)))
        teacher_timestamps = timestamps_of(everything, teacher.num_feature_frames(num_frames))
    return FeaturePair(
        student_dim=student.feature_dim,
        teacher_dim=teacher.feature_dim,
        student_timestamps=student_timestamps,
        teacher_timestamps=teacher_timestamps,
        student_embedding_dim=student.embedding_dim,
        teacher_embedding_dim=teacher.embedding_dim,
        student_num_blocks=student.num_blocks(view_shapes(config)["student"][0]),
        teacher_num_blocks=teacher.num_blocks(num_frames),
    )


def student_model(config: ExperimentConfig) -> RecognizerConfig:
    """The student's architecture and initial weights; an earlier stage becomes the path of its last.pt."""
    stage = referred_stage(config.student.weights)
    if stage is None:
        return config.student
    return config.student.model_copy(update={"weights": str(config.stage_folder(stage) / "last.pt")})


def teacher_model(config: ExperimentConfig, stage: ExperimentConfig | None = None) -> RecognizerConfig:
    """The teacher's architecture and initial weights. ``stage``: as in build_networks."""
    assert config.teacher is not None
    if config.teacher.model:
        return config.teacher.model
    stage = stage or load_stage(config)
    check_stage_view(config, stage)
    check_stage_checkpoint(config, stage)
    weights = stage.folder / f"{config.teacher.checkpoint}.pt"
    changes = {"weights": str(weights), "weights_head": "keep"}
    return without_kept_parts(stage.student).model_copy(update=changes)


def load_stage(config: ExperimentConfig) -> ExperimentConfig:
    """The config of the teacher's stage, with the same folder of runs and the same device."""
    assert config.teacher is not None
    assert config.teacher.stage is not None
    stage = referred_stage(config.teacher.stage)
    path = config.teacher.stage if stage is None else config.stage_folder(stage) / "config.yaml"
    return load_config(path, [f"runs={json.dumps(str(config.runs), ensure_ascii=False)}", f"device={config.device}"])


def check_stage_checkpoint(config: ExperimentConfig, stage: ExperimentConfig) -> None:
    """Raises ValueError if the teacher is to be its stage's best.pt, and the stage has no list that chooses one."""
    assert config.teacher is not None
    data = stage.data
    key = "val_pattern" if data.kind == "clips" else "val"
    if config.teacher.checkpoint == "best" and not (getattr(data, key) or data.val_fraction > 0):
        raise ValueError(
            f"teacher.checkpoint=best: expected a validation list of {stage.name}, which chooses best.pt, found none; "
            f"set data.val_fraction or data.{key} there, or teacher.checkpoint=last."
        )


def check_stage_view(config: ExperimentConfig, stage: ExperimentConfig) -> None:
    """Raises ValueError if the stage trains on frames of another size than the teacher's view has, or on fewer frames.

    A joint teacher may start from fewer frames: it learns on its own view. On pixels a stage that sees all frames of
    shorter clips may teach on longer ones, as TSN networks do.
    """
    assert config.teacher is not None
    if config.data.kind != stage.data.kind:
        return  # a network on pixels takes no features, and the other way round
    (trained_on, *trained_size), (num_frames, *size) = view_shapes(stage)["student"], view_shapes(config)["teacher"]
    if size != trained_size and config.data.kind == "clips":  # a network on features refuses another size itself
        raise ValueError(
            f"{config.teacher.stage} trains a teacher on views of {tuple(trained_size)}, but "
            f"data.views.{view_of(config, 'teacher')}.size is {tuple(size)}; expected the same."
        )
    if config.teacher.update == "frozen" and not data_of(stage).student_sees_all(num_frames):
        key = data_of(config).num_frames_key
        raise ValueError(
            f"{config.name}: the teacher sees {num_frames} frames ({key}), but its stage {stage.name} trains it "
            f"on {trained_on}; expected a teacher trained on all frames that it sees. In {stage.name} set "
            f"data.views.student.num_frames to null and {key} to {num_frames}."
        )


def check_teacher_classes(config: ExperimentConfig, class_names: tuple[str, ...]) -> None:
    """Refuse a teacher of other classes. Weights without class names are trusted."""
    if not config.teacher:
        return
    model = teacher_model(config)
    weights = model.weights
    if not Path(weights).is_file() or model.weights_head == "new":
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
    """The student or the joint teacher of a checkpoint, or the frozen teacher that the config names.

    Batch norm uses running statistics in all of them.

    Raises:
        ValueError: the checkpoint holds another architecture, or there is no teacher.
    """
    check_names_are_current(state["config"], config.resolved(), source)
    num_classes = len(state["class_names"])
    if which == "student":
        architecture, trained = config.student, state["config"]["student"]
    else:
        if config.teacher is None:
            raise ValueError("the config has no teacher to evaluate; evaluate the teacher's own run instead.")
        architecture, trained = teacher_model(config), (state["config"].get("teacher") or {}).get("model")
        if "teacher" not in state:
            return build_recognizer(architecture, num_classes).to(device)
    if trained is not None:
        _check_same_architecture(architecture, trained, which=which, source=source)
    model = build_recognizer(architecture.model_copy(update={"weights": "none"}), num_classes)
    load_recognizer_state(model, state[which], source=source)
    return model.to(device)


def _check_same_architecture(
    mine: RecognizerConfig, trained: Mapping[str, Any], *, which: ViewName, source: str
) -> None:
    """Compare the settings: strides and pixel statistics change every score, but the weights do not hold them."""
    found = difference(mine, trained)
    if found:
        key, value, other = found
        raise ValueError(
            f"{source} was trained with {which}.{key} = {other!r}, the config has {value!r}; "
            "evaluate it under the config it was trained with (config.yaml in its folder)."
        )


def scores_of(
    config: ExperimentConfig, which: ViewName = "student", stage: ExperimentConfig | None = None
) -> ScoreKind:
    """The kind of scores that the logits were trained for: the student's, also for a teacher without a stage.

    Args:
        stage: as in build_networks.
    """
    if which == "teacher" and config.teacher and config.teacher.stage and config.teacher.update == "frozen":
        config = stage or load_stage(config)
    return config.loss.scores


def view_shapes(config: ExperimentConfig) -> dict[str, tuple[int, ...]]:
    """What the networks of this experiment see: name of the network -> (T, H, W), or (T, D) for features."""
    shapes = data_of(config).view_shapes()
    return {name: shapes[view_of(config, name)] for name in network_names(config)}


def network_names(config: ExperimentConfig) -> tuple[ViewName, ...]:
    return ("student", "teacher") if config.teacher else ("student",)


def view_of(config: ExperimentConfig, network: ViewName) -> ViewName:
    """The view that a network sees: mostly the one of its name."""
    sees_student_view = config.teacher is not None and config.teacher.sees == "student_view"
    return "student" if sees_student_view else network
