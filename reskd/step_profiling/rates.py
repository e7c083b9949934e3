"""Steps per second of the bare networks, of the training loop on made-up batches, and on real files.

Note [Three loops that take turns]
"bare" is forward, backward and update on one batch that is already on the device. "synthetic" is
``Trainer.train_step`` on that batch: what it needs more is the loop's overhead. "real" is the same with the loader's
batches: what it needs more is waiting for data, or the work that decoding takes away from a processor that does both.
Each round runs each loop once, in an order that shifts from round to round, so that a busy moment affects all. Before
the loop on real files is timed, it uses up what was prefetched while the others ran.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from dali_pipes.batch import ClipBatch
from reskd.device_times import wait_for
from reskd.runtime.phases import PhaseClock
from reskd.training.dry_run import noise_batch
from reskd.training.trainable import inputs_of
from reskd.training.trainer import Trainer


@dataclass
class Loop:
    """Times of one loop.

    Attributes:
        seconds: of a step, one number a round: wall time.
        cpu_seconds: of a step, of this process.
        phases_ms: of a step.
    """

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    phases_ms: list[dict[str, float]] = field(default_factory=list)

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

    @property
    def wait_share(self) -> float:
        """Of the wall time, waiting for data."""
        waits = (phases["data"] / 1e3 / seconds for phases, seconds in zip(self.phases_ms, self.seconds, strict=True))
        return statistics.median(waits)

    def phase_ms(self, name: str) -> float:
        return statistics.median(phases[name] for phases in self.phases_ms)


@dataclass(frozen=True)
class Rates:
    """The times of all loops.

    Args:
        loops: by name: "bare", "synthetic" and perhaps "real".
        clips_per_step: of one rank.
        on_gpu: whether the device is a GPU.
    """

    loops: dict[str, Loop]
    clips_per_step: int
    on_gpu: bool

    def clips_per_second(self, name: str) -> float:
        return self.clips_per_step / self.loops[name].median_s

    @property
    def overhead(self) -> float:
        """Of the training loop over the bare networks; on a CPU from cpu times, which are steadier there."""
        loop, bare = self.loops["synthetic"], self.loops["bare"]
        pairs = (loop.seconds, bare.seconds) if self.on_gpu else (loop.cpu_seconds, bare.cpu_seconds)
        return statistics.median(one / other for one, other in zip(*pairs, strict=True)) - 1

    @property
    def lost_to_data(self) -> float:
        """The share of its time by which the loop on real files is slower than on made-up batches."""
        ratios = [
            other / one for one, other in zip(self.loops["real"].seconds, self.loops["synthetic"].seconds, strict=True)
        ]
        return 1 - statistics.median(ratios)


def measure_rates(
    trainer: Trainer,
    real_batches: Iterator[ClipBatch] | None,
    *,
    steps: int,
    rounds: int,
    used_up: int,
    on_round: Callable[[int], None] = lambda number: None,
) -> Rates:
    """Run the loops in turn; see Note [Three loops that take turns].

    Args:
        trainer: its weights change.
        real_batches: endless; None: the loop on real files is left out.
        steps: timed in each round.
        used_up: steps on real files before they are timed.
    """
    batch = resident_batch(trainer)
    sources: dict[str, Iterator[ClipBatch]] = {"bare": itertools.repeat(batch), "synthetic": itertools.repeat(batch)}
    if real_batches is not None:
        sources["real"] = real_batches
    loops = {name: Loop() for name in sources}
    trainer.parallel.train()
    for name in ("bare", "synthetic"):  # kernels are chosen, memory is allocated
        _run(trainer, name, sources[name], 2)
    for number in range(rounds):
        names = list(loops)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            if name == "real":
                _run(trainer, name, sources[name], used_up)
            _time(trainer, name, sources[name], steps, loops[name])
        on_round(number + 1)
    clips = trainer.plan.clips_per_pass * trainer.plan.passes_per_step
    return Rates(loops, clips, on_gpu=trainer.world.device.type == "cuda")


def _time(trainer: Trainer, name: str, batches: Iterator[ClipBatch], steps: int, into: Loop) -> None:
    with PhaseClock(trainer) as clock:
        timed = clock.waiting(batches)
        wait_for(trainer.world.device)
        cpu, wall = time.process_time(), time.perf_counter()
        _run(trainer, name, timed, steps)
        clock.stop()
        wait_for(trainer.world.device)
        into.seconds.append((time.perf_counter() - wall) / steps)
        into.cpu_seconds.append((time.process_time() - cpu) / steps)
        into.phases_ms.append({phase: ms / steps for phase, ms in clock.pop().items()})


def _run(trainer: Trainer, name: str, batches: Iterator[ClipBatch], steps: int) -> None:
    for _ in range(steps):
        if name == "bare":
            _bare_step(trainer, batches)
        else:
            trainer.train_step(batches)


def _bare_step(trainer: Trainer, batches: Iterator[ClipBatch]) -> None:
    for _ in range(trainer.plan.passes_per_step):
        batch = next(batches)
        inputs = inputs_of(batch)
        with trainer.precision.autocast():
            teacher_output = trainer.teacher(*inputs["teacher"]) if trainer.teacher is not None else None
            output = trainer.parallel(inputs, batch.targets, teacher_output)
        trainer.precision.scaler.scale(output.total / trainer.plan.passes_per_step).backward()
    for learner in trainer.learners:
        learner.update(trainer.precision.scaler, trainer.config.clip_norm)
    trainer.precision.scaler.update()
    trainer.trainable.zero_grad(set_to_none=True)


def resident_batch(trainer: Trainer) -> ClipBatch:
    """A batch of noise on the trainer's device."""
    return noise_batch(trainer.view_shapes, trainer.plan.clips_per_pass).to(trainer.world.device)
