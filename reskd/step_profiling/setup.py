"""A trainer for measuring speed: the networks of a config with random weights, so that no teacher has to be trained."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dali_pipes.batch import Loader
from reskd.distributed import World
from reskd.experiment.build import build_trainer
from reskd.experiment.config import ExperimentConfig
from reskd.experiment.data import data_of
from reskd.experiment.networks import build_networks, view_shapes
from reskd.models.recognizer import data_shape
from reskd.profiling.resource_estimate import make_up_weights
from reskd.runtime.prepare import choose_kernels, prepare_networks
from reskd.training.plan import Plan
from reskd.training.run_directory import RunDirectory
from reskd.training.trainable import Networks
from reskd.training.trainer import Trainer
from reskd.training.trainer_arguments import RunRecord, Settings, TrainingData

_CLASSES_WITHOUT_DATA = 400


class SpeedRun(NamedTuple):
    """A trainer and what its steps cost.

    Attributes:
        trainer: its weights mean nothing.
        loader: of real clips, which the caller closes; None without data.
        flops_per_clip: of a training step's products and convolutions, forward and backward, a multiply-add counting
            as two. What is frozen has no backward pass.
    """

    trainer: Trainer
    loader: Loader | None
    flops_per_clip: float


def speed_run(
    config: ExperimentConfig, stage: ExperimentConfig | None, *, world: World, folder: Path, with_data: bool
) -> SpeedRun:
    """Build the trainer of a config.

    Args:
        stage: the config of the teacher's stage, if it is in the same file.
        folder: of the run's files, of which none is written but the list of unreadable videos.
        with_data: whether real clips are read; else any number of classes and clips is assumed.

    Raises:
        ValueError, OSError: as a training of this config would, but for weights, which are not read.
    """
    num_classes = data_of(config).count_training_list(config.seed)[1] if with_data else _CLASSES_WITHOUT_DATA
    networks = Networks(*build_networks(config, num_classes=num_classes, device=torch.device("meta"), stage=stage))
    flops_per_clip = _flops_per_clip(networks, view_shapes(config))
    for module in (networks.student, networks.loss, networks.teacher):
        if module is not None:
            make_up_weights(module, world.device)
    run = RunDirectory(folder)
    if with_data:
        trainer = build_trainer(config, run=run, world=world, networks=networks)
        loader: Loader | None = trainer.make_loader(0)
    else:
        trainer, loader = _without_data(config, networks, run=run, world=world), None
    return SpeedRun(trainer, loader, flops_per_clip)


def _without_data(config: ExperimentConfig, networks: Networks, *, run: RunDirectory, world: World) -> Trainer:
    batch = config.training.global_batch_size
    clips_per_pass = min(config.training.max_clips_per_pass or batch, batch // world.size)
    plan = Plan.make(config.training, num_clips=1000 * batch, clips_per_pass=clips_per_pass, world_size=world.size)

    choose_kernels(config.runtime, world, deterministic=config.training.deterministic)
    prepare_networks(networks.student, networks.teacher, config.runtime, world)

    def no_loader(first_batch: int) -> Loader:
        raise AssertionError("there are no data")

    return Trainer(
        networks,
        Settings(config.training, config.optimizer, config.schedule, config.seed),
        TrainingData(plan, no_loader, view_shapes(config)),
        RunRecord(run, {}),
        validations={},
        world=world,
    )


def _flops_per_clip(networks: Networks, shapes: Mapping[str, tuple[int, ...]]) -> float:
    """Count by a forward pass; nothing is computed. ``networks``: on the meta device."""
    total = _step_flops(networks.student, shapes["student"])
    if networks.teacher is not None:
        total += _step_flops(networks.teacher, shapes.get("teacher", shapes["student"]))
    return total


def _step_flops(network: nn.Module, shape: tuple[int, ...]) -> float:
    """Operations of a clip: forward, and as many again for a layer's weights and for its input if these are learned.

    torch's own count of a backward pass ignores the groups of convolutions.
    """
    num_clips = 2  # batch norm of an embedding has no variance with one
    factors: dict[str, int] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], name: str) -> None:
        learns = any(parameter.requires_grad for parameter in module.parameters(recurse=False))
        factors[name] = 1 + learns + any(isinstance(one, Tensor) and one.requires_grad for one in inputs)

    leaves = {name: module for name, module in network.named_modules() if not list(module.children())}
    handles = [module.register_forward_pre_hook(partial(note, name=name)) for name, module in leaves.items()]
    data = torch.empty(data_shape(shape, num_clips), dtype=torch.uint8, device="meta")
    with FlopCounterMode(display=False) as counter:
        output = network(data)
    for handle in handles:
        handle.remove()
    counts = {name: sum(found.values()) for name, found in counter.get_flop_counts().items()}
    root = type(network).__name__
    of_leaves = {name: counts.get(f"{root}.{name}", 0) for name in factors}
    between_leaves = counts["Global"] - sum(of_leaves.values())  # products without weights, as attention's
    total = sum(factors[name] * count for name, count in of_leaves.items())
    return (total + between_leaves * (3 if output.logits_NK.requires_grad else 1)) / num_clips
