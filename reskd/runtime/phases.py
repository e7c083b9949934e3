"""The phases of a training step, marked by hooks on a trainer's modules: nothing of the trainer changes.

A step is: data (waiting for a batch), teacher, student, loss, backward (with clipping), optimizer. A joint teacher
counts as student, as one module runs both. Phases of several passes of a step are added.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch.autograd.profiler import record_function

from reskd.device_times import recorded_event, wait_for
from reskd.distributed import World

# Spans that are kept as events; of more, those that a GPU has reached are added up.
_MOST_SPANS = 2048
PHASES = ("data", "teacher", "student", "loss", "backward", "optimizer")


class HasOptimizer(Protocol):
    """What updates a network."""

    @property
    def optimizer(self) -> torch.optim.Optimizer: ...


class Phased(Protocol):
    """What has phases: ``reskd.training.trainer.Trainer``, which lies above this file."""

    @property
    def world(self) -> World: ...

    @property
    def trainable(self) -> Any: ...

    @property
    def teacher(self) -> torch.nn.Module | None: ...

    @property
    def learners(self) -> Sequence[HasOptimizer]: ...


class PhaseClock:
    """Times the phases of a trainer's steps inside a ``with`` block.

    On a GPU the times are between events on its stream. With ``ranges``, each phase is also a range for torch's
    profiler and, under ``torch.autograd.profiler.emit_nvtx``, for Nsight Systems.

    Args:
        trainer: whose ``train_step`` is called in the block.
    """

    def __init__(self, trainer: Phased, *, ranges: bool = False) -> None:
        self._trainer = trainer
        self._on_gpu = trainer.world.device.type == "cuda"
        self._ranges = ranges
        self._open: tuple[str, Any, Any] | None = None
        self._spans: list[tuple[str, Any, Any]] = []
        self._ms = dict.fromkeys(PHASES, 0.0)
        self._handles: list[Any] = []

    def __enter__(self) -> PhaseClock:
        trainable, teacher = self._trainer.trainable, self._trainer.teacher
        if teacher is not None:
            self._begin_before(teacher, "teacher")
        self._begin_before(trainable, "student")
        self._begin_before(trainable.loss, "loss")
        self._handles.append(trainable.register_forward_hook(lambda *call: self._begin("backward")))
        for learner in self._trainer.learners:
            hook = learner.optimizer.register_step_pre_hook(lambda *call: self._begin("optimizer"))
            self._handles.append(hook)
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def waiting(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The same batches; taking one is the phase "data", and ends the step before."""
        while True:
            self._begin("data")
            batch = next(batches, None)
            if batch is None:
                return
            self.stop()
            yield batch

    def stop(self) -> None:
        """End the phase that is open."""
        if self._open is None:
            return
        name, before, open_range = self._open
        self._open = None
        self._spans.append((name, before, self._mark()))
        if open_range is not None:
            open_range.__exit__(None, None, None)
        if len(self._spans) > _MOST_SPANS:
            self._add_up()

    def pop(self) -> dict[str, float]:
        """Milliseconds of each phase since the last call, in the order of ``PHASES``; waits for a GPU."""
        wait_for(self._trainer.world.device)
        self._add_up()
        found, self._ms = self._ms, dict.fromkeys(PHASES, 0.0)
        return found

    def clear(self) -> None:
        """Forget the phases since the last ``pop``."""
        self.stop()
        self._spans.clear()
        self._ms = dict.fromkeys(PHASES, 0.0)

    def _add_up(self) -> None:
        """Spans that the device has left become milliseconds."""
        num_done = sum(1 for _ in itertools.takewhile(lambda span: not self._on_gpu or span[2].query(), self._spans))
        for name, before, after in self._spans[:num_done]:
            self._ms[name] += before.elapsed_time(after) if self._on_gpu else 1e3 * (after - before)
        del self._spans[:num_done]

    def _begin_before(self, module: torch.nn.Module, name: str) -> None:
        self._handles.append(module.register_forward_pre_hook(lambda *call: self._begin(name)))

    def _begin(self, name: str) -> None:
        self.stop()
        open_range = None
        if self._ranges:
            open_range = record_function(name)
            open_range.__enter__()
        self._open = name, self._mark(), open_range

    def _mark(self) -> Any:
        return recorded_event() if self._on_gpu else time.perf_counter()
