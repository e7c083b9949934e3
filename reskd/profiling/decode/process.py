"""A process for each candidate of the decode benchmark, so that its cpu time and memory are its own."""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from dali_pipes.jobs.worker_process import die_with_parent, starting_workers
from reskd.profiling.decode import process_usage
from reskd.profiling.decode.workload import Workload

_MEMORY_POLL_SECONDS = 0.1
_START_SECONDS = 180.0


@dataclass(frozen=True)
class Turn:
    """The cost of ``num_clips``, from rest to rest: with full queues before and after, no work is missing or extra."""

    num_clips: int
    wall_seconds: float
    cpu_seconds: float
    bytes_read: int


@dataclass
class CandidateHost:
    """A candidate in a process of its own; close it, or use it as a context manager.

    Raises:
        RuntimeError: the candidate failed; carries its message.
    """

    name: str
    workload: Workload
    _process: Any = None
    _connection: Any = None
    _taken: int = field(default=0, init=False)

    def __enter__(self) -> CandidateHost:
        process_usage.check_supported()
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self.name, self.workload, os.getpid()))
        with starting_workers():
            self._process.start()
        theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process and its children."""
        if self._connection is None:
            return
        self._connection.close()
        self._process.join(timeout=20)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._connection = None

    def first_batch(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Start, and return the first batch: both views and the frame numbers."""
        return self._ask("first", None)

    def take(self, num_batches: int) -> Turn:
        """The cost of ``num_batches``."""
        pid = self._process.pid
        process_usage.wait_until_quiet(pid)
        cpu, read, started = process_usage.cpu_seconds(pid), process_usage.bytes_read(pid), time.perf_counter()
        self._ask("take", num_batches)
        ended = process_usage.wait_until_quiet(pid)
        return Turn(
            num_batches * self.workload.batch_size,
            ended - started,
            process_usage.cpu_seconds(pid) - cpu,
            process_usage.bytes_read(pid) - read,
        )

    def peak_memory_mib(self, num_batches: int) -> float:
        """Peak resident memory of process and children, polled ten times a second while ``num_batches`` are taken."""
        seen, done = [process_usage.memory_mib(self._process.pid)], threading.Event()

        def watch() -> None:
            while not done.wait(_MEMORY_POLL_SECONDS):
                seen.append(process_usage.memory_mib(self._process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            self._ask("take", num_batches)
        finally:
            done.set()
            watcher.join()
        return max(seen)

    def stages(self, num_clips: int) -> dict[str, float]:
        """cpu-ms per clip of each stage, run in sequence in the process itself; empty if they are hidden."""
        return self._ask("stages", num_clips)

    def _ask(self, what: str, argument: int | None) -> Any:
        try:
            self._connection.send((what, argument))
            if not self._connection.poll(_START_SECONDS):
                raise RuntimeError(f"{self.name}: expected an answer within {_START_SECONDS:.0f} s, found none.")
            kind, answer = self._connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise RuntimeError(f"{self.name}: its process died.") from error
        if kind == "error":
            raise RuntimeError(f"{self.name}: {answer}")
        return answer


def _serve(connection: Connection, name: str, workload: Workload, parent_pid: int) -> None:
    """Answer requests until the other end is closed."""
    die_with_parent(parent_pid)
    import torch

    from reskd.profiling.decode.candidates import CANDIDATES

    torch.set_num_threads(1)  # rendering belongs to the workers
    batches: Any = None
    while True:
        try:
            what, argument = connection.recv()
        except EOFError:
            break
        try:
            batches = batches or CANDIDATES[name].open(workload)
            if what == "first":
                answer: object = tuple(tensor.cpu().numpy() for tensor in next(batches))
            elif what == "take":
                for _ in range(argument):
                    next(batches)
                if workload.device == "cuda":
                    torch.cuda.synchronize()
                answer = None
            else:
                answer = _run_stages(name, workload, argument)
            connection.send(("ok", answer))
        except Exception as error:  # whatever a candidate raises is its result
            connection.send(("error", f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"))
    if batches is not None:
        batches.close()


def _run_stages(name: str, workload: Workload, num_clips: int) -> dict[str, float]:
    from reskd.profiling.decode.candidates import CANDIDATES
    from reskd.profiling.decode.other_decoders import StageClock

    make = CANDIDATES[name].run_stages
    if make is None:
        return {}
    run = make(workload)
    seconds: dict[str, float] = defaultdict(float)
    for is_warm in (False, True):  # imports, tables and packet indices are made in the first pass
        for position in range(num_clips):
            clock = StageClock()
            run(position, clock)
            for stage, spent in clock.seconds.items() if is_warm else ():
                seconds[stage] += spent
    return {stage: 1e3 * spent / num_clips for stage, spent in seconds.items() if stage != "plan"}
