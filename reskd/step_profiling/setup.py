"""A trainer for measuring speed: the networks of a config with random weights, so that no teacher has to be trained."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dali_pipes.batch import Loader
from reskd.distributed import World
from reskd.experiment.build import build_trainer
from reskd.experiment.config import ExperimentConfig
from reskd.experiment.data import data_of
from reskd.experiment.networks import build_networks, view_shapes
from reskd.models.recognizer import data_shape
from reskd.training.plan import Plan
from reskd.training.run_directory import RunDirectory
from reskd.training.trainable import Networks
from reskd.training.trainer import Trainer
from reskd.training.trainer_arguments import RunRecord, Settings, TrainingData

log = logging.getLogger(__name__)

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
    _make_up_weights(networks, world.device)
    run = RunDirectory(folder)
    if with_data:
        trainer = build_trainer(config, run=run, world=world, networks=networks)
        loader: Loader | None = trainer.make_loader(0)
    else:
        trainer, loader = _without_data(config, networks, run=run, world=world), None
    return SpeedRun(trainer, loader, flops_per_clip)


def _make_up_weights(networks: Networks, device: torch.device) -> None:
    """Move networks of the meta device to ``device``, with random weights."""
    modules: list[nn.Module] = [networks.student, networks.loss]
    modules += [networks.teacher] if networks.teacher is not None else []
    for module in modules:
        module.to_empty(device=device)
    with torch.no_grad():
        for module in modules:
            for name, tensor in (*module.named_parameters(), *module.named_buffers()):
                _fill(name, tensor)


def _fill(name: str, tensor: torch.Tensor) -> None:
    """Values under which activations keep their size (He et al., arXiv:1502.01852): denormal numbers would be slow."""
    if tensor.dim() >= 2 and tensor.is_floating_point():
        tensor.normal_(std=(2 * len(tensor) / tensor.numel()) ** 0.5)
    elif name.rpartition(".")[2] in ("weight", "running_var", "pixel_std_C"):
        tensor.fill_(1)
    else:
        tensor.zero_()


def _without_data(config: ExperimentConfig, networks: Networks, *, run: RunDirectory, world: World) -> Trainer:
    batch = config.training.global_batch_size
    clips_per_pass = min(config.training.max_clips_per_pass or batch, batch // world.size)
    plan = Plan.make(config.training, num_clips=1000 * batch, clips_per_pass=clips_per_pass, world_size=world.size)

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
    """Count a forward and a backward pass; nothing is computed. ``networks``: on the meta device."""
    shapes = {"teacher": shapes["student"], **shapes}
    num_clips = 2  # batch norm of an embedding has no variance with one
    inputs = {
        name: torch.empty(data_shape(shape, num_clips), dtype=torch.uint8, device="meta")
        for name, shape in shapes.items()
    }
    with FlopCounterMode(display=False) as counter:
        outputs = [networks.student(inputs["student"])]
        if networks.teacher is not None:
            outputs.append(networks.teacher(inputs["teacher"]))
        trained = [output.logits_NK.sum() for output in outputs if output.logits_NK.requires_grad]
        sum(trained, torch.zeros((), device="meta")).backward()
    networks.student.zero_grad(set_to_none=True)
    if networks.teacher is not None:
        networks.teacher.zero_grad(set_to_none=True)
    return counter.get_total_flops() / num_clips
