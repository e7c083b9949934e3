"""The one place where a config becomes wired objects: data, networks, trainer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from dali_pipes.build_manifests import build_manifests
from dali_pipes.loader import ClipLoader
from dali_pipes.manifest import Manifest
from dali_pipes.sampling_rules import ViewGrid
from dali_pipes.splits import videos_of_splits
from dali_pipes.views import student_frames
from reskd.config import ExperimentConfig, load_config
from reskd.distributed import World, barrier
from reskd.evaluation.evaluator import Validation
from reskd.evaluation.metrics import Scores
from reskd.losses.distillation import DistillationLoss, FeaturePair
from reskd.losses.time_match import moments_of
from reskd.models.config import RecognizerConfig, difference
from reskd.models.recognizer import Recognizer
from reskd.models.registry import build_recognizer
from reskd.models.teacher import Teacher
from reskd.models.weights import load_recognizer_state, state_hash
from reskd.ops.dispatch import describe_choice
from reskd.training.plan import Plan
from reskd.training.precision import Precision
from reskd.training.rehearsal import choose_clips_per_pass, leaving_no_trace, noise_batch
from reskd.training.run_directory import RunDirectory, config_hash
from reskd.training.trainer import Trainer

log = logging.getLogger(__name__)

ViewName = Literal["student", "teacher"]


def load_stage(config: ExperimentConfig) -> ExperimentConfig:
    """The config of the teacher's stage, in the same folder of runs and on the same device."""
    assert config.teacher is not None
    assert config.teacher.stage is not None
    stage = load_config(config.teacher.stage, [f"runs={config.runs}", f"device={config.device}"])
    view, seen = stage.data.views.student, config.data.views.teacher
    assert seen is not None
    if view.size != seen.size:
        raise ValueError(
            f"{config.teacher.stage} trains a teacher on views of {view.size}, but data.views.teacher.size is "
            f"{seen.size}; expected the same."
        )
    return stage


def build_trainer(config: ExperimentConfig, *, run: RunDirectory, world: World) -> Trainer:
    """Everything checked, wired and on its device, before the first clip is decoded."""
    _set_determinism(config, world)
    check_labels(config)
    manifests = build_data(config, world=world, splits=("train", "val"))
    train = manifests["train"]
    student, teacher, loss = build_networks(config, num_classes=len(train.class_names), device=world.device)
    check_teacher_classes(config, train.class_names)
    if config.loss.pixel:
        log.info("pixel term: %s", describe_choice(config.loss.pixel.backend, world.device))
    shapes = view_shapes(config)
    clips_per_pass = choose_clips_per_pass(
        global_batch_size=config.training.global_batch_size,
        most=config.training.max_clips_per_pass,
        world=world,
        try_pass=_trial(student, teacher, loss, config, world),
    )
    plan = Plan.make(config.training, num_clips=len(train), clips_per_pass=clips_per_pass, world_size=world.size)
    log.info("%d clips, %d steps of %d clips", len(train), plan.total_steps, plan.global_batch_size)

    def make_loader(first_batch: int) -> ClipLoader:
        loader = ClipLoader(
            train,
            config.data,
            views=tuple(shapes),
            mode="train",
            batch_size=clips_per_pass,
            global_batch_size=plan.global_batch_size,
            rank=world.rank,
            world_size=world.size,
            seed=config.seed,
            first_batch=first_batch,
            device=world.device,
            quarantine=run.quarantine(world.rank),
            on_message=log.warning,
        )
        log.info(loader.describe_ways_in())
        return loader

    return Trainer(
        student=student,
        teacher=teacher,
        loss=loss,
        make_loader=make_loader,
        evaluate=_validation(config, manifests.get("val"), clips_per_pass, world),
        plan=plan,
        config=config.training,
        optimizer=config.optimizer,
        schedule=config.schedule,
        seed=config.seed,
        world=world,
        run=run,
        view_shapes=shapes,
        description={
            "config": config.resolved(),
            "config_hash": config_hash(config.resolved()),
            "class_names": list(train.class_names),
            "manifest_hash": train.content_hash,
            "teacher_hash": state_hash(teacher) if teacher is not None else None,
            "total_steps": plan.total_steps,
        },
    )


def build_data(config: ExperimentConfig, *, world: World, splits: tuple[str, ...]) -> dict[str, Manifest]:
    """The lists as manifests. Rank 0 looks into the files, the others wait and read what it found."""
    found: dict[str, Manifest] = {}
    for turn_of_main in (True, False):
        if world.is_main == turn_of_main:
            found = build_manifests(config.data, seed=config.seed, splits=splits, on_message=log.info)
        barrier(world)
    return found


def build_networks(
    config: ExperimentConfig, *, num_classes: int, device: torch.device
) -> tuple[Recognizer, Teacher | None, DistillationLoss]:
    """Student, teacher and loss. The student's initialisation depends on the seed alone.

    Args:
        device: where they end up; on the meta device no weights are read.

    Raises:
        ValueError: the loss cannot compare the two networks; weights that do not fit.
    """
    torch.manual_seed(config.seed)
    with device if device.type == "meta" else nullcontext():
        student = build_recognizer(config.student, num_classes).to(device)
        if not config.teacher:
            return student, None, DistillationLoss(config.loss)
        teacher = Teacher(build_recognizer(teacher_model(config), num_classes).to(device), config.teacher)
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


def _feature_pair(config: ExperimentConfig, student: Recognizer, teacher: Teacher) -> FeaturePair:
    num_frames = config.data.sampling.num_frames
    seen = student_frames(config.data.views.student.num_frames, num_frames)
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


def teacher_model(config: ExperimentConfig) -> RecognizerConfig:
    """The teacher's architecture with the weights it starts from."""
    assert config.teacher is not None
    if config.teacher.model:
        return config.teacher.model
    stage = load_stage(config)
    return stage.student.model_copy(update={"weights": str(stage.folder / "last.pt")})


def check_teacher_classes(config: ExperimentConfig, class_names: tuple[str, ...]) -> None:
    """A teacher of other classes would teach nonsense. Weights that carry no class names are trusted."""
    if not config.teacher:
        return
    weights = teacher_model(config).weights
    if not Path(weights).is_file():
        return
    names = torch.load(weights, map_location="cpu", weights_only=True, mmap=True).get("class_names")
    if names is not None and list(names) != list(class_names):
        raise ValueError(
            f"the teacher in {weights} knows {len(names)} classes ({', '.join(names[:3])}, ...), the training list has "
            f"{len(class_names)} ({', '.join(class_names[:3])}, ...); expected the same, in the same order."
        )


def check_labels(config: ExperimentConfig) -> None:
    """Refuse a loss or a selection metric for one label a video where some have several; no video is opened."""
    _, videos = videos_of_splits(config.data, config.seed, ("train", "val"), lambda message: None)
    counts = [len(video.labels) for name in ("train", "val") for video in videos[name]]
    if max(counts, default=1) == 1:
        return
    where = f"{sum(count > 1 for count in counts)} of {len(counts)} videos in data.train have several labels"
    if config.loss.task == "softmax_ce":
        raise ValueError(
            f"{where}, which loss.task = softmax_ce cannot learn; set loss.task to sigmoid_bce (all labels) or "
            "random_label_ce (one of them drawn each time, as the paper's code does), or list one label a video."
        )
    if config.training.selection_metric != "map" and videos["val"]:
        raise ValueError(
            f"{where}, for which there is no {config.training.selection_metric}; set training.selection_metric to map."
        )


def scores_of(config: ExperimentConfig, which: ViewName = "student") -> Scores:
    """What the model's logits were trained to be; a teacher without a stage is taken to be trained like the student."""
    if which == "teacher" and config.teacher and config.teacher.stage:
        config = load_stage(config)
    return "sigmoid" if config.loss.task == "sigmoid_bce" else "softmax"


def view_shapes(config: ExperimentConfig) -> dict[str, tuple[int, int, int]]:
    """The views that the networks of this experiment see: name -> (T, H, W)."""
    views, num_frames = config.data.views, config.data.sampling.num_frames
    size = views.student.size
    if views.student.upsample_to_teacher:
        assert views.teacher is not None
        size = views.teacher.size
    shapes = {"student": (views.student.num_frames or num_frames, *size)}
    if config.teacher and views.teacher:
        shapes["teacher"] = (num_frames, *views.teacher.size)
    return shapes


def build_eval_loader(
    config: ExperimentConfig, manifest: Manifest, *, view: str, batch_size: int, world: World, grid: ViewGrid
) -> ClipLoader:
    return ClipLoader(
        manifest,
        config.data,
        views=(view,),
        mode="eval",
        batch_size=batch_size,
        global_batch_size=None,
        rank=world.rank,
        world_size=world.size,
        seed=config.seed,
        device=world.device,
        grid=grid,
        quarantine=RunDirectory(config.folder).quarantine(world.rank),
        on_message=log.warning,
    )


def _validation(
    config: ExperimentConfig, manifest: Manifest | None, batch_size: int, world: World
) -> Validation | None:
    if manifest is None or len(manifest) == 0:
        return None
    sampling = config.data.sampling
    grid = ViewGrid(sampling.val_clips, sampling.val_crops)
    return Validation(
        build_eval_loader(config, manifest, view="student", batch_size=batch_size, world=world, grid=grid),
        view="student",
        world=world,
        precision=Precision(config.training.precision, world.device),
        average=sampling.average_views,
        scores=scores_of(config),
    )


def _trial(
    student: nn.Module, teacher: nn.Module | None, loss: nn.Module, config: ExperimentConfig, world: World
) -> Callable[[int], None]:
    """A forward and backward of so many clips outside DDP, where running out of memory hangs nobody."""
    shapes, precision = view_shapes(config), Precision(config.training.precision, world.device)

    def run(num_clips: int) -> None:
        with leaving_no_trace(nn.ModuleList([student, loss])):
            batch = noise_batch(shapes, num_clips).to(world.device)
            with precision.autocast():
                taught = teacher(batch.views["teacher"].data_NTHWC) if teacher is not None else None
                terms = loss(student(batch.views["student"].data_NTHWC), batch.labels_N, taught)
            terms.total.backward()

    return run


def _set_determinism(config: ExperimentConfig, world: World) -> None:
    torch.backends.cudnn.benchmark = world.device.type == "cuda" and not config.training.deterministic
    torch.use_deterministic_algorithms(config.training.deterministic, warn_only=True)
