"""Steps of n processes, simulated: each with its workers, its queue of batches, its networks and the sum of gradients.

Note [What is simulated]
A process takes a batch, runs forward, backward and update, and starts over. Its workers read bytes from the storage,
then use a core, each for its share of a batch, and stop when ``prefetch`` batches are ready; a GPU's decoder, if there
is one, takes the batches that they have read. Cores are those of the machine, shared evenly by all who need one, and on
a CPU the networks need one too. Times of steps and clips are drawn from log-normal distributions of the measured mean
and spread. The sum of gradients begins when the last process has begun its backward pass, and no process goes on before
it has ended. So waiting, stragglers and crowded cores come out by themselves; paper_model.py has formulas for them.
"""

from __future__ import annotations

import statistics
from typing import NamedTuple

import numpy as np

from reskd.scaling.config import Rates, ReadingRates
from reskd.scaling.fair_share import Event, Process, Shared, Simulation
from reskd.scaling.paper_model import last_bucket_share, sum_seconds


class SimulatedRun(NamedTuple):
    """Means over steps, without those that use up what was read before the first.

    Args:
        step_seconds: of a step.
        wait_share: of the time, waiting for data; mean over processes.
    """

    step_seconds: float
    wait_share: float


def simulate(rates: Rates, processes: int, clips_per_step: int, *, steps: int = 40, seed: int = 0) -> SimulatedRun:
    """Simulate a run; see Note [What is simulated].

    Args:
        steps: that count.
    """
    run = _Run(rates, processes, clips_per_step / processes, steps, np.random.default_rng(seed))
    run.simulation.run()
    first = run.num_steps - steps
    started, ended = run.ended[first - 1], run.ended[-1]
    waited = statistics.fmean(waits[-1] - waits[first - 1] for waits in run.waited)
    return SimulatedRun((ended - started) / steps, waited / (ended - started))


class _Queue:
    """Batches of one process that are ready."""

    def __init__(self) -> None:
        self.taken = 0
        self.ready = 0
        self.changed = Event()


class _Step:
    """One step of all processes."""

    def __init__(self) -> None:
        self.sum_began = 0.0
        self.done = 0
        self.summed = Event()


class _Run:
    def __init__(self, rates: Rates, processes: int, clips: float, steps: int, generator: np.random.Generator) -> None:
        self.simulation = Simulation()
        self.rates, self.processes, self.clips = rates, processes, clips
        self.num_steps = steps + 2 + (2 * rates.reading.prefetch if rates.reading is not None else 0)
        self.generator = generator
        self.ended: list[float] = []  # of each step, over all processes
        self.waited: list[list[float]] = [[] for _ in range(processes)]  # seconds up to the end of each step
        self._steps = [_Step() for _ in range(self.num_steps)]
        per_node = rates.cluster.processes_per_node
        nodes = [Shared(self.simulation, rates.cluster.cores_per_node, 1.0) for _ in range(-(-processes // per_node))]
        gb_per_s = rates.cluster.storage_gb_per_s
        self._storage = Shared(self.simulation, gb_per_s * 1e9) if gb_per_s is not None else None
        for process in range(processes):
            queue, cores = _Queue(), nodes[process // per_node]
            self.simulation.start(self._train(process, queue, cores))
            if rates.reading is not None:
                self._start_reading(rates.reading, queue, cores)

    def _draw(self, mean: float, spread: float, count: int) -> list[float]:
        """Log-normal numbers of this mean, and a standard deviation of ``spread`` times it."""
        variance = np.log1p(spread**2)
        drawn = self.generator.lognormal(-variance / 2, np.sqrt(variance), count)
        return [float(mean * factor) for factor in drawn]

    def _train(self, process: int, queue: _Queue, cores: Shared) -> Process:
        step = self.rates.step
        compute = self._draw(step.seconds(self.clips), step.spread, self.num_steps)
        waited = 0.0
        networks = Shared(self.simulation, 1.0) if self.rates.cluster.on_gpu else cores
        for number, seconds in enumerate(compute):
            started = self.simulation.now
            while self.rates.reading is not None and queue.ready == queue.taken:
                yield queue.changed
            waited += self.simulation.now - started
            queue.taken += 1
            self._tell(queue)
            yield networks.use((1 - step.backward_share) * seconds)
            self._begin_backward(self._steps[number])
            yield networks.use(step.backward_share * seconds)
            self._end_backward(self._steps[number])
            yield self._steps[number].summed
            self.waited[process].append(waited)

    def _begin_backward(self, step: _Step) -> None:
        """The sum of gradients begins with the last process."""
        step.sum_began = self.simulation.now

    def _end_backward(self, step: _Step) -> None:
        step.done += 1
        if step.done < self.processes:
            return
        seconds = sum_seconds(self.rates.gradients, self.rates.cluster, self.processes)
        last_bucket = last_bucket_share(self.rates.gradients) * seconds
        ended = max(step.sum_began + seconds, self.simulation.now + last_bucket)
        self.ended.append(ended)
        self.simulation.call_at(ended, lambda: self.simulation.set(step.summed))

    def _start_reading(self, reading: ReadingRates, queue: _Queue, cores: Shared) -> None:
        read = _Queue() if reading.decoder_clips_per_second is not None else queue
        num_batches = self.num_steps + reading.prefetch  # reading goes on to the last step
        parts = [0] * num_batches
        for _ in range(reading.workers):
            self.simulation.start(self._work(reading, queue, read, parts, cores))
        if reading.decoder_clips_per_second is not None:
            self.simulation.start(self._decode(self.clips / reading.decoder_clips_per_second, num_batches, read, queue))

    def _work(self, reading: ReadingRates, queue: _Queue, read: _Queue, parts: list[int], cores: Shared) -> Process:
        """A worker: its part of each batch, as long as there is room."""
        clips = self.clips / reading.workers
        spread = reading.spread / max(1.0, clips) ** 0.5
        for number, seconds in enumerate(self._draw(clips * reading.core_seconds, spread, len(parts))):
            while number >= queue.taken + reading.prefetch:
                yield queue.changed
            if self._storage is not None:
                yield self._storage.use(clips * reading.kib * 1024)
            yield cores.use(seconds)
            parts[number] += 1
            if parts[number] == reading.workers:
                read.ready += 1
                self._tell(read)

    def _decode(self, seconds: float, num_batches: int, read: _Queue, queue: _Queue) -> Process:
        decoder = Shared(self.simulation, 1.0)
        for _ in range(num_batches):
            while read.ready == read.taken:
                yield read.changed
            yield decoder.use(seconds)
            read.taken += 1
            queue.ready += 1
            self._tell(queue)

    def _tell(self, queue: _Queue) -> None:
        """Wake all who wait for this queue."""
        event, queue.changed = queue.changed, Event()
        self.simulation.set(event)
