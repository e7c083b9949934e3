"""Run a long job over many files in this machine's processes, or on the machines of a Ray cluster."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import active_children, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol, TypeVar

from dali_pipes.choices import EngineName
from dali_pipes.jobs.worker_process import die_with_parent, end_in_order_at_sigterm, starting_workers

Item = TypeVar("Item")
Result = TypeVar("Result")
# Tasks submitted per core: enough that no core waits, few enough that a stopped job has few running.
_TASKS_PER_CORE = 2
# Seconds that processes have to end by themselves; a tool itself has 2 after Ctrl-C and 10 after SIGTERM.
_INTERRUPT_S, _OTHERWISE_S = 1.5, 8.0


class Engine(Protocol):
    """Yields (item, ``work(item)``) in order of completion; None if the item's process died.

    Items start in their order, but those that are not ``ready`` wait: it is asked again after each yield. What is not
    ready when nothing runs any more is left out.
    """

    def __call__(
        self,
        work: Callable[[Item], Result],
        items: Sequence[Item],
        /,
        *,
        ready: Callable[[Item], bool] = ...,
    ) -> Iterator[tuple[Item, Result | None]]: ...


def always_ready(_: object) -> bool:
    return True


def make_engine(
    name: EngineName,
    *,
    num_workers: int = 2,
    ray_address: str | None = None,
    kills: bool = False,
    uses_gpus: bool = False,
) -> Engine:
    """Make an engine by name.

    Args:
        num_workers: number of processes of ``local``.
        kills: as of ``map_isolated``.
        ray_address: address of a running cluster, such as "auto"; None starts Ray on this machine.
        uses_gpus: on a Ray cluster with GPUs each item gets one of its own; Ray hides them from it otherwise. Of
            ``local`` the items see them all.

    Raises:
        ValueError: Ray is not installed.
    """
    if name == "local":
        return partial(map_isolated, num_workers=num_workers, kills=kills)
    try:
        import ray
    except ImportError as error:
        raise ValueError("engine ray: expected the package ray, found none; pip install -e '.[ray]'.") from error
    if not ray.is_initialized():
        ray.init(address=ray_address, log_to_driver=False, num_cpus=None if ray_address else num_workers)
    return partial(_map_on_ray, ray, uses_gpus=uses_gpus)


def _map_on_ray(
    ray: Any,
    work: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    uses_gpus: bool,
    ready: Callable[[Item], bool] = always_ready,
) -> Iterator[tuple[Item, Result | None]]:
    """Every machine must have the files and the working directory under the same path, and this project installed."""
    resources = ray.cluster_resources()
    num_gpus = int(uses_gpus and resources.get("GPU", 0) >= 1)
    # Ray takes a plain function, and ``work`` may be a partial one.
    remote = ray.remote(num_cpus=1, num_gpus=num_gpus, max_retries=0)(_work_in_folder).remote
    call = partial(remote, Path.cwd(), work)
    most = max(1, int(_TASKS_PER_CORE * resources.get("CPU", 1)))
    waiting = list(reversed(items))
    running: dict[Any, Item] = {}
    while waiting or running:
        while len(running) < most and (place := _next_ready(waiting, ready)) is not None:
            item = waiting.pop(place)
            running[call(item)] = item
        if not running:
            return
        done, _ = ray.wait(list(running), num_returns=1)
        for reference in done:
            item = running.pop(reference)
            try:
                yield item, ray.get(reference)
            except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError):
                yield item, None


def _work_in_folder(folder: Path, work: Callable[[Item], Result], item: Item) -> Result:
    """On Ray. A cluster's processes are in the folder in which it was started, and paths are relative to the tool's."""
    os.chdir(folder)
    return work(item)


def _next_ready(waiting: Sequence[Item], ready: Callable[[Item], bool]) -> int | None:
    """Where the next item is in ``waiting``, which is in reverse order; None if none is ready."""
    return next((place for place in reversed(range(len(waiting))) if ready(waiting[place])), None)


def shard_of(names: Sequence[str], shard: tuple[int, int]) -> list[str]:
    """Select the names of part i of n by a hash of the name, so it is the same on every machine.

    Args:
        shard: (i, n), i from 1 to n.

    Raises:
        ValueError: i is not within 1 to n.
    """
    part, num_parts = shard
    if not 1 <= part <= num_parts:
        raise ValueError(f"shard: expected i/n with i from 1 to n, found {part}/{num_parts}.")
    return [name for name in names if _hash(name) % num_parts == part - 1]


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8], "big")


def map_isolated(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    num_workers: int,
    kills: bool = False,
    ready: Callable[[Item], bool] = always_ready,
) -> Iterator[tuple[Item, Result | None]]:
    """Yield (item, ``work(item)``) in order of completion; None if the item's process died.

    At most ``num_workers`` items run at a time. If a process dies, each of them is a suspect and is retried alone. An
    exception of ``work`` is raised here, after the items already running are finished.

    Args:
        work: a module-level function, as it is pickled by name.
        kills: a signal that raises here (Ctrl-C, SIGTERM) ends the items that run, for long ones; otherwise they are
            finished first.
        ready: as of ``Engine``.
    """
    waiting = list(reversed(items))
    while _next_ready(waiting, ready) is not None:
        suspects: list[Item] = []
        with _pool(min(num_workers, len(waiting)), kills=kills) as pool:
            running: dict[Future[Result], Item] = {}
            whole = True
            while whole:
                while whole and len(running) < num_workers and (place := _next_ready(waiting, ready)) is not None:
                    whole = _submit(pool, work, waiting, place, running)
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    item = running.pop(future)
                    try:
                        yield item, future.result()
                    except BrokenProcessPool:
                        suspects.append(item)
                        whole = False
            suspects += running.values()
        for item in suspects:
            yield item, _alone(work, item, kills=kills)


@contextmanager
def _pool(num_workers: int, *, kills: bool) -> Iterator[ProcessPoolExecutor]:
    """A pool for a block. With ``kills``, its processes end with the block that a signal ends; see map_isolated."""
    others = set(active_children())
    with process_pool(num_workers, can_be_ended=kills) as pool:
        try:
            yield pool
        except Exception:
            raise
        except BaseException as error:
            if kills:
                pool.shutdown(wait=False, cancel_futures=True)
                limit_s = _INTERRUPT_S if isinstance(error, KeyboardInterrupt) else _OTHERWISE_S
                _end_processes(set(active_children()) - others, limit_s)
            raise


def _end_processes(processes: Collection[BaseProcess], limit_s: float) -> None:
    """Ask them to end, and kill those that have not after ``limit_s``.

    A process that ends by itself closes what it holds. A killed one leaves semaphores of its loader behind, which
    Python's resource tracker then removes with a warning, after the last line of the program.
    """
    for process in processes:
        process.terminate()
    last_s = time.monotonic() + limit_s
    for process in processes:
        process.join(max(0.0, last_s - time.monotonic()))
        if process.is_alive():
            process.kill()


def _submit(
    pool: ProcessPoolExecutor,
    work: Callable[[Item], Result],
    waiting: list[Item],
    place: int,
    running: dict[Future[Result], Item],
) -> bool:
    """Start an item of ``waiting``; returns False, without starting it, if a process has died since the last check."""
    try:
        with starting_workers():
            running[pool.submit(work, waiting[place])] = waiting[place]
    except BrokenProcessPool:
        return False
    waiting.pop(place)
    return True


def _alone(work: Callable[[Item], Result], item: Item, *, kills: bool) -> Result | None:
    with _pool(1, kills=kills) as pool:
        try:
            with starting_workers():
                started = pool.submit(work, item)
            return started.result()
        except BrokenProcessPool:
            return None


def process_pool(num_workers: int, *, can_be_ended: bool = False) -> ProcessPoolExecutor:
    """Make processes that end with this one; if one dies, the caller gets ``BrokenProcessPool`` instead of waiting.

    Args:
        can_be_ended: SIGTERM has a process leave its item and close what it holds.
    """
    # spawn: forking a process with threads (torch, DALI) can deadlock.
    return ProcessPoolExecutor(
        num_workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(os.getpid(), can_be_ended)
    )


def _begin(parent_pid: int, can_be_ended: bool) -> None:
    die_with_parent(parent_pid)
    if can_be_ended:
        end_in_order_at_sigterm()
