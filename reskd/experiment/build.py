"""The one place where a config becomes wired objects: data, networks (networks.py), trainer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from dali_pipes.config import Averaging, DataConfig
from dali_pipes.features.config import FeatureDataConfig
from dali_pipes.features.loader import FeatureLoader
from dali_pipes.features.manifest import FeatureManifest, build_feature_manifests
from dali_pipes.loader.clip_loader import ClipLoader
from dali_pipes.manifest.build import build_manifests
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.manifest.splits import videos_of_splits
from dali_pipes.sampling.spec import ONE_VIEW, ViewGrid
from reskd.distributed import World, barrier
from reskd.evaluation.evaluator import Validation
from reskd.evaluation.metrics import ScoredList, check_selection_metric
from reskd.experiment.config import ExperimentConfig
from reskd.experiment.networks import ViewName, build_networks, check_teacher_classes, scores_of, view_shapes
from reskd.experiment.provenance import start_hashes
from reskd.models.teacher import Teacher
from reskd.models.weights.load import state_hash
from reskd.ops.dispatch import describe_choice
from reskd.training.dry_run import choose_clips_per_pass, leaving_no_trace, noise_batch
from reskd.training.plan import Plan
from reskd.training.precision import Precision
from reskd.training.run_directory import RunDirectory, config_hash
from reskd.training.trainable import Trainable, shown
from reskd.training.trainer import Trainer

log = logging.getLogger(__name__)

AnyManifest = Manifest | FeatureManifest
AnyLoader = ClipLoader | FeatureLoader


def build_trainer(config: ExperimentConfig, *, run: RunDirectory, world: World) -> Trainer:
    """Everything checked, wired and on its device, before the first clip is decoded."""
    _set_determinism(config, world)
    if isinstance(config.data, DataConfig):
        check_listed_labels(config)
    manifests = build_data(config, world=world, splits=("train", "val"))
    train = manifests["train"]
    num_labels = {split: manifest.num_labels for split, manifest in manifests.items()}
    check_labels(config, num_labels, num_classes=len(train.class_names))
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

    def make_loader(first_batch: int) -> AnyLoader:
        loader = _make_loader(
            config,
            train,
            views=tuple(shapes),
            mode="train",
            batch_size=clips_per_pass,
            global_batch_size=plan.global_batch_size,
            world=world,
            first_batch=first_batch,
            quarantine=run.quarantine("train", world.rank),
        )
        log.info(loader.describe_ways_in())
        return loader

    return Trainer(
        student=student,
        teacher=teacher,
        loss=loss,
        make_loader=make_loader,
        evaluate={
            which: _validation(config, manifests["val"], which, clips_per_pass, world)
            for which in (("student", "teacher") if learns else ("student",))
            if len(manifests.get("val", ()))
        },
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
            "start_hashes": start_hashes(config),
            "total_steps": plan.total_steps,
        },
        teacher_learns=learns,
    )


def build_data(config: ExperimentConfig, *, world: World, splits: tuple[str, ...]) -> Mapping[str, AnyManifest]:
    """The lists as manifests. Rank 0 looks into the files, the others wait and read what it found."""
    found: Mapping[str, AnyManifest] = {}
    for turn_of_main in (True, False):
        if world.is_main == turn_of_main:
            if isinstance(config.data, FeatureDataConfig):
                found = build_feature_manifests(config.data, seed=config.seed, splits=splits, on_message=log.info)
            else:
                found = build_manifests(config.data, seed=config.seed, splits=splits, on_message=log.info)
        barrier(world)
    return found


def count_training_list(config: ExperimentConfig) -> tuple[int, int]:
    """(videos, classes) to train on; no video is opened, of records of features the headers at most.

    Raises:
        ValueError, OSError: the lists or records are not there, or not as expected.
    """
    if isinstance(config.data, FeatureDataConfig):
        manifest = build_feature_manifests(config.data, seed=config.seed, splits=("train",))["train"]
        return len(manifest), len(manifest.class_names)
    class_names, videos = videos_of_splits(config.data, config.seed, ("train", "val"), lambda message: None)
    return len(videos["train"]), len(class_names)


def check_listed_labels(config: ExperimentConfig) -> None:
    """``check_labels`` of the lists; no video is opened, which the first time may take hours."""
    class_names, videos = videos_of_splits(config.clips, config.seed, ("train", "val"), lambda message: None)
    num_labels = {name: np.array([len(video.labels) for video in videos[name]], int) for name in ("train", "val")}
    check_labels(config, num_labels, num_classes=len(class_names))


def check_labels(config: ExperimentConfig, num_labels: Mapping[str, np.ndarray], *, num_classes: int) -> None:
    """Refuse a loss or a selection metric for one label a video where some have several.

    Args:
        num_labels: integers, one for each video of "train" and, where there is one, "val".
    """
    counts = np.concatenate(list(num_labels.values()))
    several_labels = bool((counts > 1).any())
    where = f"{(counts > 1).sum()} of {len(counts)} videos in data.train have several labels"
    if several_labels and config.loss.task == "softmax_ce":
        raise ValueError(
            f"{where}, which loss.task = softmax_ce cannot learn; set loss.task to sigmoid_bce (all labels) or "
            "random_label_ce (one of them drawn each time, as the paper's code does), or list one label a video."
        )
    num_validated = len(num_labels.get("val", ()))
    if num_validated:
        num_views = shown_views(config, "val")[0].num_views
        # A list gives what its own videos allow; one without several labels by chance has no gap of softmax scores.
        for several in {several_labels, bool((num_labels["val"] > 1).any())}:
            scored_list = ScoredList(num_validated, num_classes, num_views, several, scores_of(config))
            check_selection_metric(config.training.selection_metric, scored_list)


def shown_views(config: ExperimentConfig, split: Literal["val", "test"]) -> tuple[ViewGrid, Averaging]:
    """How often a video of a list is shown, and what of the answers is averaged. Features are shown once."""
    if isinstance(config.data, FeatureDataConfig):
        return ONE_VIEW, "probabilities"
    sampling = config.data.sampling
    if split == "val":
        return ViewGrid(sampling.val_clips, sampling.val_crops), sampling.average_views
    return ViewGrid(sampling.test_clips, sampling.test_crops), sampling.average_views


def build_eval_loader(
    config: ExperimentConfig,
    manifest: AnyManifest,
    *,
    split: Literal["val", "test"],
    view: str,
    batch_size: int,
    world: World,
    grid: ViewGrid,
) -> AnyLoader:
    return _make_loader(
        config,
        manifest,
        views=(view,),
        mode="eval",
        batch_size=batch_size,
        world=world,
        quarantine=RunDirectory(config.folder).quarantine(split, world.rank),
        grid=grid,
    )


def _make_loader(
    config: ExperimentConfig,
    manifest: AnyManifest,
    *,
    views: tuple[str, ...],
    mode: Literal["train", "eval"],
    batch_size: int,
    global_batch_size: int | None = None,
    world: World,
    first_batch: int = 0,
    quarantine: Path,
    grid: ViewGrid = ONE_VIEW,
) -> AnyLoader:
    chosen: dict[str, Any] = {
        "views": views,
        "mode": mode,
        "batch_size": batch_size,
        "global_batch_size": global_batch_size,
        "rank": world.rank,
        "world_size": world.size,
        "seed": config.seed,
        "first_batch": first_batch,
        "device": world.device,
        "quarantine": quarantine,
        "on_message": log.warning,
    }
    if isinstance(manifest, FeatureManifest):
        assert isinstance(config.data, FeatureDataConfig)
        return FeatureLoader(manifest, config.data, **chosen)
    return ClipLoader(manifest, config.clips, **chosen, grid=grid)


def _validation(
    config: ExperimentConfig, manifest: AnyManifest, which: ViewName, batch_size: int, world: World
) -> Validation:
    grid, average = shown_views(config, "val")
    return Validation(
        build_eval_loader(config, manifest, split="val", view=which, batch_size=batch_size, world=world, grid=grid),
        view=which,
        world=world,
        precision=Precision(config.training.precision, world.device),
        average=average,
        scores=scores_of(config, which),
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
