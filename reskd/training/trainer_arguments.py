"""A Trainer's arguments besides its networks: settings, batches, the record of the run, validations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from dali_pipes.batch import Loader
from reskd.distributed import World, broadcast_buffers
from reskd.extensions.loggers import Loggers
from reskd.training.plan import Plan, TrainingConfig
from reskd.training.recipes.mixing import Mixer
from reskd.training.run_directory import RunDirectory
from reskd.training.schedule import ScheduleConfig
from reskd.training.settings.optimizer import OptimizerConfig

_VALIDATED = {"student": "val", "teacher": "val_teacher"}


@dataclass(frozen=True)
class Settings:
    """The part of an experiment's config that a trainer needs.

    Args:
        seed: of dropout and everything else that a step draws.
    """

    training: TrainingConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    seed: int


@dataclass(frozen=True)
class TrainingData:
    """The batches of a run.

    Args:
        plan: the number of steps, and batch sizes.
        make_loader: index of the first batch -> endless training batches of ``plan.clips_per_pass`` clips.
        view_shapes: view name -> (T, H, W), or (T, D) of features, for the dry run.
        mixer: of the clips of a pass; None: they stay as they are.
        readable_clips_per_second: what one rank's loader was predicted to read; None: not predicted.
    """

    plan: Plan
    make_loader: Callable[[int], Loader]
    view_shapes: Mapping[str, tuple[int, ...]]
    readable_clips_per_second: float | None = None
    mixer: Mixer | None = None


@dataclass(frozen=True)
class RunRecord:
    """Where a run leaves its files.

    Args:
        description: what a checkpoint records of its run besides the weights: plain values only.
        open_loggers: the loggers of the user's, called on rank 0 when the training begins; None: there are none.
    """

    directory: RunDirectory
    description: Mapping[str, Any]
    open_loggers: Callable[[], Loggers] | None = None


class Validate(Protocol):
    """Metrics of a model on the validation list, the same on every rank."""

    def __call__(self, model: nn.Module) -> Mapping[str, float]: ...

    def close(self) -> None: ...


def validate_all(
    validations: Mapping[str, Validate], networks: Mapping[str, nn.Module], world: World
) -> dict[str, float]:
    """The metrics of each validation's network, with the buffers of rank 0: val/top1, val_teacher/top1, ..."""
    for module in networks.values():
        broadcast_buffers(module, world)
    found: dict[str, float] = {}
    for which, validate in validations.items():
        found |= {f"{_VALIDATED[which]}/{name}": value for name, value in validate(networks[which]).items()}
    return found
