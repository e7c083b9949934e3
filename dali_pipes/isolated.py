"""One call a file, each in another process, so that a file which kills its decoder costs that file alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from dali_pipes.worker_process import die_with_parent, main_module_hidden

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_isolated(
    work: Callable[[Item], Result], items: Sequence[Item], *, num_workers: int
) -> Iterator[tuple[Item, Result | None]]:
    """(item, ``work(item)``) in order of completion; None where the process of that item died.

    At most ``num_workers`` items are under way at a time: they are the suspects if a process dies, and each is then
    tried again alone. What ``work`` raises is raised here; items that had begun are finished first.

    Args:
        work: a function of a module, as it travels by name.
    """
    waiting = list(reversed(items))
    while waiting:
        suspects: list[Item] = []
        with process_pool(min(num_workers, len(waiting))) as pool:
            running: dict[Future[Result], Item] = {}
            whole = True
            while whole and (waiting or running):
                while whole and waiting and len(running) < num_workers:
                    whole = _submit(pool, work, waiting, running)
                for future in wait(running, return_when=FIRST_COMPLETED).done if running else ():
                    item = running.pop(future)
                    try:
                        yield item, future.result()
                    except BrokenProcessPool:
                        suspects.append(item)
                        whole = False
            suspects += running.values()
        for item in suspects:
            yield item, _alone(work, item)


def _submit(
    pool: ProcessPoolExecutor,
    work: Callable[[Item], Result],
    waiting: list[Item],
    running: dict[Future[Result], Item],
) -> bool:
    """Start the next item; False, and nothing started, where a process has died since the last look."""
    try:
        with main_module_hidden():
            running[pool.submit(work, waiting[-1])] = waiting[-1]
    except BrokenProcessPool:
        return False
    waiting.pop()
    return True


def _alone(work: Callable[[Item], Result], item: Item) -> Result | None:
    with process_pool(1) as pool:
        try:
            with main_module_hidden():
                return pool.submit(work, item).result()
        except BrokenProcessPool:
            return None


def process_pool(num_workers: int) -> ProcessPoolExecutor:
    """Processes that end with this one; a death among them is a ``BrokenProcessPool`` for the caller, not a wait."""
    # spawn: forking a process that has threads (torch, DALI) can lock up.
    return ProcessPoolExecutor(
        num_workers, mp_context=get_context("spawn"), initializer=die_with_parent, initargs=(os.getpid(),)
    )
