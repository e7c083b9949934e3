"""Finds out that a run diverges, before a bad state replaces a good checkpoint.

Note [What stops a run]
A value that is not finite: the loss of a pass, the norm of the gradients, and at a save also the loss of the updated
networks on the step's clips and everything that is saved (weights, batch norm's statistics, the optimizer's moments).
In fp16, gradients that overflow are normal: the loss scale is halved and the update skipped, so there the loss and the
scale count. An explosion: a mean loss, or the loss after the update, of more than ``_EXPLODED`` times the lowest mean
loss so far (at least 1). More than ``_SUSPICIOUS`` times is logged.

The values stay on their device until the next logged or saved step, where the means are read anyway. Until then no
update is made of gradients that are not finite: the optimizer skips it on the device.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from reskd.distributed import World, gather_rows, mean_over_ranks
from reskd.training.run_directory import RunDirectory

_EXPLODED = 1e4
_SUSPICIOUS = 1e2
_LOWEST_LOSS_SCALE = 2.0**-16  # torch starts at 2**16; a smaller one means that every update overflows
_STATE = "what is to be saved"
_NORM = "the norm of the"
_NAMES = {"loss/total": "the loss", "loss/task": "the task loss", "loss/teacher_task": "the teacher's task loss"}
_TASK_LOSSES = {"student": "loss/task", "teacher": "loss/teacher_task"}

log = logging.getLogger(__name__)


class BadValue(NamedTuple):
    """A value that is not finite, and where it was found first."""

    name: str
    value: float
    step: int
    rank: int


class Watch:
    """Values of the steps since the last ``first_bad``, on their device. Every rank adds the same names in order."""

    def __init__(self) -> None:
        self._keys: list[tuple[int, str]] = []
        self._values: list[Tensor] = []

    def add(self, step: int, name: str, value: Tensor) -> None:
        """Remember a 0-d tensor of step number ``step``; this does not wait for the device."""
        self._keys.append((step, name))
        self._values.append(value.detach())

    def first_bad(self, world: World) -> BadValue | None:
        """The first value of any rank that is not finite, the same on every rank; waits for the device and resets."""
        keys, values = self._keys, self._values
        self._keys, self._values = [], []
        if not values:
            return None
        stacked = torch.stack([value.to(world.device, torch.float64) for value in values])
        bad = ~stacked.isfinite()
        first = bad.to(torch.uint8).argmax()
        row = torch.stack([bad.any().double(), first.double(), stacked[first]])
        rows = gather_rows(row[None], world).tolist()
        found = [(int(index), rank, value) for rank, (is_bad, index, value) in enumerate(rows) if is_bad]
        if not found:
            return None
        index, rank, value = min(found, key=lambda entry: entry[:2])
        step, name = keys[index]
        return BadValue(name, value, step, rank)


def largest_magnitude(state: Mapping[str, Any]) -> Tensor:
    """The largest magnitude of all floating-point tensors in ``state``, as a 0-d tensor; NaN if any element is."""
    largest = [value for _, value in _magnitudes(state)]
    return torch.stack(largest).amax() if largest else torch.zeros(())


def names_of_bad(state: Mapping[str, Any]) -> list[str]:
    """Names of the tensors in ``state`` with an element that is not finite. Waits for the device."""
    return [name for name, value in _magnitudes(state) if not math.isfinite(value.item())]


def _magnitudes(tree: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(tree, Tensor):
        if tree.is_floating_point() and tree.numel():
            yield prefix, torch.linalg.vector_norm(tree, math.inf, dtype=torch.float32)
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _magnitudes(value, f"{prefix}.{key}" if prefix else str(key))


class Guard:
    """Stops a run that diverges: see Note [What stops a run]. Every rank makes the same calls.

    Attributes:
        lowest: name of a loss -> its lowest mean so far; part of a checkpoint.
    """

    def __init__(self, run: RunDirectory, world: World) -> None:
        self.lowest: dict[str, float] = {}
        self._run, self._world = run, world
        self._watch = Watch()
        self._state: Mapping[str, Any] = {}
        self._updated: dict[str, Tensor] = {}
        self._has_warned = False

    def watch_losses(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """The losses of one pass."""
        for name in ("loss/total", "loss/teacher_task"):
            if name in losses:
                self._watch.add(step, _NAMES[name], losses[name])

    def watch_norm(self, step: int, norm: Tensor | None, *, is_teachers: bool) -> None:
        """The norm of a network's gradients, if it counts."""
        if norm is not None:
            self._watch.add(step, f"{_NORM} {'teacher' if is_teachers else 'student'}'s gradients", norm)

    def watch_state(self, step: int, state: Mapping[str, Any], losses: Mapping[str, Tensor]) -> None:
        """What is to be saved, and the updated networks' task losses: "student", "teacher" -> a 0-d tensor."""
        self._state, self._updated = state, {_TASK_LOSSES[name]: value for name, value in losses.items()}
        self._watch.add(step, _STATE, largest_magnitude(state))
        for name, value in self._updated.items():
            self._watch.add(step, f"{_NAMES[name]} after the update", value)

    def check_means(self, step: int, means: Mapping[str, float], *, loss_scale: float) -> None:
        """Judge the losses of a logged step, whose means then count for later steps; waits for the device.

        Args:
            loss_scale: of fp16; 1 in other precisions.

        Raises:
            FloatingPointError: the run diverges.
        """
        self.check(step)
        if loss_scale < _LOWEST_LOSS_SCALE:
            self._stop(f"the loss scale of fp16 is {loss_scale:.3g} by step {step}: gradients overflow in every step")
        for name in _NAMES:
            if name in means:
                self._judge(name, means[name], f"by step {step}")
                self.lowest[name] = min(means[name], self.lowest.get(name, means[name]))

    def check(self, step: int) -> None:
        """Judge what was watched since the last check. Raises FloatingPointError as ``check_means``."""
        bad = self._watch.first_bad(self._world)
        if bad is not None:
            self._stop(self._describe(bad))
        updated, self._updated, self._state = self._updated, {}, {}
        if updated:
            means = mean_over_ranks(torch.stack(list(updated.values())).double(), self._world).tolist()
            for name, value in zip(updated, means, strict=True):
                self._judge(name, value, f"after the update of step {step}")

    def _judge(self, name: str, value: float, when: str) -> None:
        lowest = self.lowest.get(name, value)
        grown = value / max(1.0, lowest)
        what = f"{_NAMES[name]} is {value:.3g} {when}, and was {lowest:.3g} at its lowest"
        if grown > _EXPLODED:
            self._stop(what)
        if grown > _SUSPICIOUS and not self._has_warned:
            self._has_warned = True
            log.warning("%s; the run may diverge.", what)

    def _describe(self, bad: BadValue) -> str:
        if bad.name != _STATE:
            is_summed = bad.name.startswith(_NORM)  # gradients are the same on every rank
            of_rank = f" of rank {bad.rank}" if self._world.size > 1 and not is_summed else ""
            return f"{bad.name}{of_rank} is {bad.value} in step {bad.step}, the first value that is not finite"
        names = names_of_bad(self._state)
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        where = f"rank {bad.rank} after step {bad.step}"
        return f"{', '.join(names[:3])}{more} of {where}, which would be saved, holds values that are not finite"

    def _stop(self, what: str) -> NoReturn:
        raise FloatingPointError(f"{what}; expected a loss that stays finite and does not explode. {self._way_on()}")

    def _way_on(self) -> str:
        change = "--set optimizer.lr=... with a lower value (or training.clip_norm, schedule.warmup_epochs, "
        change += "training.precision)"
        if self._run.last.exists():
            return f"{self._run.last} holds the last good state: run the same command with --resume last and {change}."
        return f"Nothing was saved yet: run the same command with {change}."
