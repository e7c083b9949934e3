"""Says which runs of a study are in which epoch, while their processes work: read from the runs' own folders.

A thread looks, as the study itself waits for a process to end. It reads the last line of each run's metrics.jsonl.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from reskd.study.plan import PlannedRun, StudyPlan
from reskd.training.metrics_log import parse_line
from reskd.training.run_directory import RunDirectory
from reskd.training.run_lock import LOCK_NAME

_LOOK_EVERY_S = 2.0
_TAIL = 16384  # bytes, more than a line of metrics
_CLOCKS_S = 60.0  # by which those of machines that share a disk may differ


@contextmanager
def watching(
    plan: StudyPlan,
    todo: Sequence[PlannedRun],
    done: Container[str],
    tell: Callable[[str], None] | None,
    *,
    every_s: float = _LOOK_EVERY_S,
) -> Iterator[None]:
    """Within it, ``tell`` gets a line on the runs in progress every ``every_s`` seconds, from another thread.

    Args:
        done: names of the runs that are over; it may grow.
        tell: None watches nothing.
    """
    if tell is None:
        yield
        return
    end, since_s = threading.Event(), time.time() - _CLOCKS_S

    def look() -> None:
        while not end.wait(every_s):
            if line := describe_running(plan, [run for run in todo if run.name not in done], since_s=since_s):
                tell(line)

    thread = threading.Thread(target=look, name="study-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def describe_running(plan: StudyPlan, runs: Sequence[PlannedRun], *, since_s: float) -> str:
    """Such as "student 2: epoch 3.5 of 15, top1 0.412; baseline 1: starting"; "" if none is in progress.

    Args:
        since_s: time before which a run's lock is one that a killed process left.
    """
    names = {name: " ".join((arm, *cell)) for (arm, cell), name in reversed(list(plan.cells.items()))}
    found = []
    for run in runs:
        with suppress(OSError):  # no lock: it has not begun, or is over
            if (run.folder / LOCK_NAME).stat().st_mtime >= since_s:
                found.append(f"{names.get(run.name, run.name)}: {_progress(run)}")
    return "; ".join(found)


def _progress(run: PlannedRun) -> str:
    values = _last_line(RunDirectory(run.folder).metrics)
    if "train/epoch" not in values:
        return "starting"
    validated = next((name for name in ("val/top1", "val/gap", "val/map") if name in values), "train/top1")
    score = f", {validated.replace('/', ' ')} {values[validated]:.3f}" if validated in values else ""
    return f"epoch {values['train/epoch']:.1f} of {run.config.training.epochs:g}{score}"


def _last_line(path: Path) -> dict[str, float]:
    """The values of the last whole line; empty if there is none yet."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        for line in reversed(file.read().decode("utf-8", "replace").splitlines()):
            if values := parse_line(line):
                return values
    return {}
