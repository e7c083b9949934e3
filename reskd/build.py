"""The one place where a config becomes wired objects: data, networks (networks.py), trainer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

from dali_pipes.build_manifests import build_manifests
from dali_pipes.loader import ClipLoader
from dali_pipes.manifest import Manifest
from dali_pipes.sampling_rules import ViewGrid
from dali_pipes.splits import videos_of_splits
from reskd.config import ExperimentConfig
from reskd.distributed import World, barrier
from reskd.evaluation.evaluator import Validation
from reskd.evaluation.metrics import ScoredList, check_selection_metric
from reskd.models.teacher import Teacher
from reskd.models.weights import state_hash
from reskd.networks import build_networks, check_teacher_classes, scores_of, view_shapes
from reskd.ops.dispatch import describe_choice
from reskd.training.plan import Plan
from reskd.training.precision import Precision
from reskd.training.rehearsal import choose_clips_per_pass, leaving_no_trace, noise_batch
from reskd.training.run_directory import RunDirectory, config_hash
from reskd.training.trainable import Trainable, shown
from reskd.training.trainer import Trainer

log = logging.getLogger(__name__)


def build_trainer(config: ExperimentConfig, *, run: RunDirectory, world: World) -> Trainer:
    """Everything checked, wired and on its device, before the first clip is decoded."""
    _set_determinism(config, world)
    check_labels(config)
    manifests = build_data(config, world=world, splits=("train", "val"))
    train = manifests["train"]
    student, teacher, loss = build_networks(config, num_classes=len(train.class_names), device=world.device)
    learns = teacher is not None and not isinstance(teacher, Teacher)
    check_teacher_classes(config, train.class_names)
    if config.loss.pixel:
        log.info("pixel term: %s", describe_choice(config.loss.pixel.backend, world.device))
    shapes = view_shapes(config)
    clips_per_pass = choose_clips_per_pass(
        global_batch_size=config.training.global_batch_size,
        most=config.training.max_clips_per_pass,
        world=world,
        try_pass=_trial(Trainable(student, loss, teacher if learns else None), teacher, config, world),
    )
    plan = Plan.make(config.training, num_clips=len(train), clips_per_pass=clips_per_pass, world_size=world.size)
    log.info("%d clips, %d steps of %d clips", len(train), plan.total_steps, plan.global_batch_size)

    def make_loader(first_batch: int) -> ClipLoader:
        loader = ClipLoader(
            train,
            config.clips,
            views=tuple(shapes),
            mode="train",
            batch_size=clips_per_pass,
            global_batch_size=plan.global_batch_size,
            rank=world.rank,
            world_size=world.size,
            seed=config.seed,
            first_batch=first_batch,
            device=world.device,
            quarantine=run.quarantine("train", world.rank),
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
            # A joint teacher moves: its weights are in the checkpoint.
            "teacher_hash": state_hash(teacher) if isinstance(teacher, Teacher) else None,
            "total_steps": plan.total_steps,
        },
        teacher_learns=learns,
    )


def build_data(config: ExperimentConfig, *, world: World, splits: tuple[str, ...]) -> dict[str, Manifest]:
    """The lists as manifests. Rank 0 looks into the files, the others wait and read what it found."""
    found: dict[str, Manifest] = {}
    for turn_of_main in (True, False):
        if world.is_main == turn_of_main:
            found = build_manifests(config.clips, seed=config.seed, splits=splits, on_message=log.info)
        barrier(world)
    return found


def check_labels(config: ExperimentConfig) -> None:
    """Refuse a loss or a selection metric for one label a video where some have several; no video is opened."""
    class_names, videos = videos_of_splits(config.clips, config.seed, ("train", "val"), lambda message: None)
    counts = [len(video.labels) for name in ("train", "val") for video in videos[name]]
    several_labels = max(counts, default=1) > 1
    where = f"{sum(count > 1 for count in counts)} of {len(counts)} videos in data.train have several labels"
    if several_labels and config.loss.task == "softmax_ce":
        raise ValueError(
            f"{where}, which loss.task = softmax_ce cannot learn; set loss.task to sigmoid_bce (all labels) or "
            "random_label_ce (one of them drawn each time, as the paper's code does), or list one label a video."
        )
    if videos["val"]:
        num_views = config.clips.sampling.val_clips * config.clips.sampling.val_crops
        scored_list = ScoredList(len(videos["val"]), len(class_names), num_views, several_labels, scores_of(config))
        check_selection_metric(config.training.selection_metric, scored_list)


def build_eval_loader(
    config: ExperimentConfig,
    manifest: Manifest,
    *,
    split: Literal["val", "test"],
    view: str,
    batch_size: int,
    world: World,
    grid: ViewGrid,
) -> ClipLoader:
    return ClipLoader(
        manifest,
        config.clips,
        views=(view,),
        mode="eval",
        batch_size=batch_size,
        global_batch_size=None,
        rank=world.rank,
        world_size=world.size,
        seed=config.seed,
        device=world.device,
        grid=grid,
        quarantine=RunDirectory(config.folder).quarantine(split, world.rank),
        on_message=log.warning,
    )


def _validation(
    config: ExperimentConfig, manifest: Manifest | None, batch_size: int, world: World
) -> Validation | None:
    if manifest is None or len(manifest) == 0:
        return None
    sampling = config.clips.sampling
    grid = ViewGrid(sampling.val_clips, sampling.val_crops)
    return Validation(
        build_eval_loader(config, manifest, split="val", view="student", batch_size=batch_size, world=world, grid=grid),
        view="student",
        world=world,
        precision=Precision(config.training.precision, world.device),
        average=sampling.average_views,
        scores=scores_of(config),
    )


def _trial(
    trainable: Trainable, teacher: nn.Module | None, config: ExperimentConfig, world: World
) -> Callable[[int], None]:
    """A forward and backward of so many clips outside DDP, where running out of memory hangs nobody."""
    shapes, precision = view_shapes(config), Precision(config.training.precision, world.device)

    def run(num_clips: int) -> None:
        with leaving_no_trace(trainable):
            views = {name: shown(view) for name, view in noise_batch(shapes, num_clips).to(world.device).views.items()}
            labels_N = torch.zeros(num_clips, dtype=torch.int64, device=world.device)
            with precision.autocast():
                frozen = teacher if trainable.teacher is None else None
                taught = frozen(*views["teacher"]) if frozen is not None else None
                output = trainable(views["student"], labels_N, taught, views.get("teacher"))
            output.total.backward()

    return run


def _set_determinism(config: ExperimentConfig, world: World) -> None:
    torch.backends.cudnn.benchmark = world.device.type == "cuda" and not config.training.deterministic
    torch.use_deterministic_algorithms(config.training.deterministic, warn_only=True)
