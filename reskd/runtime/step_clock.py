"""How fast a training goes and what its steps spend time on, for the log of a run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from reskd.rank_map import LateRanks
from reskd.runtime.device_load import device_load
from reskd.runtime.phases import PhaseClock, Phased


class StepClock:
    """Speed and phases of a trainer's steps since the last ``pop``; open it round the training loop.

    On a GPU the host runs ahead: it waits for a batch while the GPU still computes. There the GPU's own times count,
    between events on its stream, and nothing waits for it but ``pop``.

    Args:
        trainer: whose ``train_step`` takes the batches of ``timed``.
        readable: clips/s that a rank's loader was predicted to read, to be logged beside the truth.
    """

    def __init__(self, trainer: Phased, *, readable: float | None = None) -> None:
        self._device = trainer.world.device
        self._predicted = {}
        if readable is not None:
            self._predicted["speed/readable_clips_per_second"] = readable * trainer.world.size
        self._phases = PhaseClock(trainer)
        self._late_ranks = LateRanks(trainer.world)
        self._num_steps = 0
        self.restart()

    def __enter__(self) -> StepClock:
        self._phases.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._phases.__exit__(*exception)

    def timed(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The same batches; taking one is the phase "data"."""
        return self._phases.waiting(iter(batches))

    def end_step(self) -> None:
        """The step's last phase ends here: what follows until the next batch is no part of it."""
        self._phases.stop()
        self._num_steps += 1

    def pop(self, num_clips: int) -> dict[str, float]:
        """The metrics "speed/..." since the last call, in which all ranks together took ``num_clips`` clips.

        Clips/s are of wall time; the wait is a share of it; phases are in milliseconds a step. Every rank calls it.
        """
        self._phases.stop()
        phases_ms = self._phases.pop()
        elapsed = max(time.perf_counter() - self._started, 1e-9)
        of_step = {name: ms / max(self._num_steps, 1) for name, ms in phases_ms.items()}
        found = {
            "speed/clips_per_second": num_clips / elapsed,
            "speed/data_wait_share": min(1.0, phases_ms["data"] / 1e3 / elapsed),
            **{f"speed/{name}_ms": ms for name, ms in of_step.items()},
            **self._late_ranks.note(of_step["data"], of_step["teacher"] + of_step["student"] + of_step["loss"]),
            **device_load(self._device),
            **self._predicted,
        }
        self.restart()
        return found

    def restart(self) -> None:
        """Exclude the time so far, as of an evaluation or a checkpoint."""
        self._phases.clear()
        self._num_steps = 0
        self._started = time.perf_counter()
