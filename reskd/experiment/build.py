"""The only file that turns a config into wired objects: lists (lists.py), networks (networks.py), loaders, trainer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from torch import Tensor

from dali_pipes.loader.decoder_choice import decoder_rule
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.sampling.order import ReadingOrder
from reskd.distributed import World
from reskd.evaluation.evaluator import EvaluationSettings, Validation
from reskd.experiment.config import ExperimentConfig, ViewName
from reskd.experiment.data import AnyLoader, AnyManifest, data_of
from reskd.experiment.lists import build_training_lists
from reskd.experiment.networks import (
    build_networks,
    check_teacher_classes,
    network_names,
    scores_of,
    view_of,
    view_shapes,
)
from reskd.experiment.provenance import start_hashes
from reskd.extensions.loggers import Loggers
from reskd.losses.task import weights_of_classes
from reskd.models.weights.load import state_hash
from reskd.ops.dispatch import describe_choice
from reskd.profiling.reading_cost import measure_reading
from reskd.profiling.speed_budget import describe_reading, machine_of, readable_clips_per_second
from reskd.runtime.prepare import choose_kernels, prepare_networks
from reskd.training.dry_run import choose_clips_per_pass, leaving_no_trace, noise_batch
from reskd.training.plan import Plan
from reskd.training.precision import Precision
from reskd.training.recipes.mixing import Mixer
from reskd.training.run_changes import Change
from reskd.training.run_directory import RunDirectory, config_hash
from reskd.training.trainable import Networks, Trainable, inputs_of
from reskd.training.trainer import Trainer
from reskd.training.trainer_arguments import RunRecord, Settings, TrainingData

log = logging.getLogger(__name__)

_LONG_RUN_CLIPS = 5000


def build_trainer(
    config: ExperimentConfig,
    *,
    run: RunDirectory,
    world: World,
    changes: Sequence[Change] = (),
    networks: Networks | None = None,
) -> Trainer:
    """Check, wire and move everything to its device, before the first clip is decoded.

    Args:
        changes: of the run's settings so far, for its checkpoints.
        networks: on the device; None: those of the config, with its weights.
    """
    choose_kernels(config.runtime, world, deterministic=config.training.deterministic)
    manifests = build_training_lists(config, world=world)
    train = manifests["train"]
    if networks is None:
        networks = Networks(*build_networks(config, num_classes=len(train.class_names), device=world.device))
        check_teacher_classes(config, train.class_names)
    frozen = networks.frozen_teacher
    # Before the first pass, which may fold its batch norm and round its weights.
    teacher_hash = state_hash(frozen) if frozen is not None else None
    networks.loss.class_weights_K = _class_weights(config, train, world)
    if config.loss.pixel:
        log.info("pixel term: %s", describe_choice(config.loss.pixel.backend, world.device))
    clips_per_pass = choose_clips_per_pass(
        global_batch_size=config.training.global_batch_size,
        most=config.training.max_clips_per_pass,
        multiple_of=config.training.clips_mixed_together,
        world=world,
        try_pass=_trial(networks, config, world),
        decoding_bytes=_decoding_bytes(config, manifests),
    )
    plan = Plan.make(config.training, num_clips=len(train), clips_per_pass=clips_per_pass, world_size=world.size)
    _check_graphs(config, plan)
    prepare_networks(networks.student, networks.teacher, config.runtime, world)
    log.info("%d clips, %d steps of %d clips", len(train), plan.total_steps, plan.global_batch_size)
    return Trainer(
        networks,
        Settings(config.training, config.optimizer, config.schedule, config.seed),
        TrainingData(
            plan,
            _training_loaders(config, train, plan, run, world),
            view_shapes(config),
            _readable(config, train, world),
            _mixer(config, len(train.class_names)),
        ),
        RunRecord(
            run,
            _description(config, train, teacher_hash, plan) | {"changes": [one._asdict() for one in changes]},
            lambda: Loggers(config.loggers, folder=run.path, settings=config.resolved()),
        ),
        validations=_validations(config, manifests.get("val"), networks, clips_per_pass, world),
        world=world,
    )


def _check_graphs(config: ExperimentConfig, plan: Plan) -> None:
    """Raises ValueError if a step of several passes is to be replayed as graphs.

    The gradients of a pass lie in the graph's memory until the step ends, and the next pass would fill it.
    """
    if config.runtime.cuda_graphs and config.runtime.compile == "all" and plan.passes_per_step > 1:
        raise ValueError(
            f"runtime.cuda_graphs: expected one pass a step, found {plan.passes_per_step} of {plan.clips_per_pass} "
            "clips; set runtime.compile=teacher or runtime.cuda_graphs=false, or take a smaller "
            "training.global_batch_size or more GPUs."
        )


def _class_weights(config: ExperimentConfig, train: AnyManifest, world: World) -> Tensor | None:
    weights_K = weights_of_classes(config.loss.class_weights, train.class_counts().tolist(), train.class_names)
    if weights_K is None:
        return None
    lightest, heaviest = int(weights_K.argmin()), int(weights_K.argmax())
    log.info(
        "class weights from %.3g (%s) to %.3g (%s)",
        *(weights_K[lightest], train.class_names[lightest], weights_K[heaviest], train.class_names[heaviest]),
    )
    return weights_K.to(world.device)


def _mixer(config: ExperimentConfig, num_classes: int) -> Mixer | None:
    mixing = config.training.mixing
    return None if mixing is None else Mixer(mixing, seed=config.seed, num_classes=num_classes)


def _readable(config: ExperimentConfig, train: AnyManifest, world: World) -> float | None:
    """Clips/s that the loader can be expected to read, from a second of reading; None where that tells nothing.

    It tells nothing of a short run, of frames from a cache, and of a GPU's decoder whose speed is not known.
    """
    is_long = config.training.epochs * len(train) >= _LONG_RUN_CLIPS
    if not isinstance(train, Manifest) or config.clips.cache != "none" or not is_long:
        return None
    rule = decoder_rule(world.device, config.clips)
    try:
        cost = measure_reading(train, config.clips, rule, seed=config.seed, most_seconds=1.0)
    except ValueError:
        return None
    machine = machine_of(config.clips, rule, cost)
    readable = readable_clips_per_second(cost, machine)
    if readable is not None:
        log.info("the loader can be expected to read %.3g clips/s: %s", readable, describe_reading(cost, machine))
    return readable


def views_of(config: ExperimentConfig) -> tuple[str, ...]:
    """The views of a training batch."""
    return tuple(dict.fromkeys(view_of(config, name) for name in network_names(config)))


def evaluation_settings(config: ExperimentConfig, which: ViewName, *, world: World) -> EvaluationSettings:
    """The settings under which the student or the teacher is evaluated."""
    precision = Precision(config.training.precision, world.device)
    averaging, scores = data_of(config).averaging, scores_of(config, which)
    return EvaluationSettings(view_of(config, which), precision, averaging, scores, config.metrics)


def evaluation_order(
    config: ExperimentConfig, split: Literal["val", "test"], batch_size: int, world: World
) -> ReadingOrder:
    """One pass over a list. ``batch_size``: clips per rank."""
    return ReadingOrder(
        mode="eval",
        batch_size=batch_size,
        seed=config.seed,
        rank=world.rank,
        world_size=world.size,
        test_views=data_of(config).test_views(split),
    )


def evaluation_loader(
    config: ExperimentConfig,
    manifest: AnyManifest,
    order: ReadingOrder,
    *,
    split: Literal["test", "val"],
    which: ViewName,
    world: World,
) -> AnyLoader:
    """Batches of a list, with all test views of each video."""
    return data_of(config).make_loader(
        manifest,
        order,
        views=(view_of(config, which),),
        device=world.device,
        quarantine=RunDirectory(config.folder).quarantine(split, world.rank),
    )


def _training_loaders(
    config: ExperimentConfig, train: AnyManifest, plan: Plan, run: RunDirectory, world: World
) -> Callable[[int], AnyLoader]:
    """A function that takes the number of the first batch and returns a loader of the training batches from there."""
    order = ReadingOrder(
        mode="train",
        batch_size=plan.clips_per_pass,
        seed=config.seed,
        global_batch_size=plan.global_batch_size,
        rank=world.rank,
        world_size=world.size,
        class_sampling=config.data.class_sampling,
    )

    def make_loader(first_batch: int) -> AnyLoader:
        loader = data_of(config).make_loader(
            train,
            replace(order, first_batch=first_batch),
            views=views_of(config),
            device=world.device,
            quarantine=run.quarantine("train", world.rank),
        )
        log.info(loader.describe_reading())
        return loader

    return make_loader


def _validations(
    config: ExperimentConfig, manifest: AnyManifest | None, networks: Networks, batch_size: int, world: World
) -> dict[str, Validation]:
    """One validation for each trained network; empty without validation videos."""
    if not manifest:
        return {}
    trained: tuple[ViewName, ...] = ("student", "teacher") if networks.joint_teacher is not None else ("student",)
    return {which: _validation(config, manifest, which, batch_size, world) for which in trained}


def _validation(
    config: ExperimentConfig, manifest: AnyManifest, which: ViewName, batch_size: int, world: World
) -> Validation:
    order = evaluation_order(config, "val", batch_size, world)
    loader = evaluation_loader(config, manifest, order, split="val", which=which, world=world)
    return Validation(loader, evaluation_settings(config, which, world=world), world=world)


def _description(config: ExperimentConfig, train: AnyManifest, teacher_hash: str | None, plan: Plan) -> dict[str, Any]:
    """The description of the run that each checkpoint holds."""
    return {
        "config": config.resolved(),
        "config_hash": config_hash(config.resolved()),
        "class_names": list(train.class_names),
        "manifest_hash": train.content_hash,
        "teacher_hash": teacher_hash,  # None of a joint teacher: its weights change, and the checkpoint holds them
        "start_hashes": start_hashes(config),
        "total_steps": plan.total_steps,
    }


def _trial(networks: Networks, config: ExperimentConfig, world: World) -> Callable[[int], None]:
    """A forward and backward pass of ``num_clips``, outside DDP, so that running out of memory hangs no other rank."""
    shapes, precision = view_shapes(config), Precision(config.training.precision, world.device)
    trainable, frozen = Trainable.of(networks), networks.frozen_teacher

    def run(num_clips: int) -> None:
        with leaving_no_trace(trainable):
            batch = noise_batch(shapes, num_clips).to(world.device)
            inputs = inputs_of(batch)
            with precision.autocast():
                teacher_output = frozen(*inputs["teacher"]) if frozen is not None else None
                output = trainable(inputs, batch.targets, teacher_output)
            output.total.backward()

    return run


def _decoding_bytes(config: ExperimentConfig, manifests: Mapping[str, AnyManifest]) -> Callable[[int], int]:
    """GPU memory for decoding batches of so many clips, in training and validation together."""
    data, views = data_of(config), views_of(config)
    return lambda num_clips: sum(
        data.decoding_bytes(manifest, views=views, num_clips=num_clips) for manifest in manifests.values()
    )
