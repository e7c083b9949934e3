"""Does the runs of a study that have no result yet: several at once, each in a process that may die alone."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from dali_pipes.atomic_files import atomic_write_text
from dali_pipes.jobs.map_files import Engine
from reskd.study.answer_times import add_answer_times
from reskd.study.plan import RUNS, PlannedRun, StudyPlan
from reskd.study.watch import watching
from reskd.study.work import (
    DIED,
    DIVERGED,
    DONE,
    NOT_RUN,
    do_run,
    empty_row,
    has_weights,
    read_row,
    results_of,
    write_row,
)
from reskd.training.run_lock import RunLock

log = logging.getLogger(__name__)


def study_folder(plan: StudyPlan) -> Path:
    """The folder of ``results.jsonl`` (a JSON object a run, in the order of the plan) and of the report."""
    return plan.study.runs / plan.study.name


def run_study(
    plan: StudyPlan,
    *,
    engine: Engine,
    retry: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    on_running: Callable[[str], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Do the runs that are not done, and write ``results.jsonl`` after each; returns the rows by the run's name.

    A run starts as soon as those that it needs are done; of those that can start, the earlier seed goes first. At the
    end, the time from a file to scores is measured for the arms that have none: answer_times.py.

    A run that failed is tried again; one that diverged is not, as it would again, unless ``retry``. One that is done is
    made again if a run that is not needs its weights and they are gone.

    Args:
        engine: does several runs at once.
        on_progress: gets (runs done, runs to do) after each.
        on_running: gets a line on the runs in progress every few seconds, in another thread: watch.py.

    Raises:
        OSError: another process works on this study; the disk is full.
    """
    folder = study_folder(plan)
    lock = RunLock(folder)
    lock.take()
    try:
        final = {DONE} if retry else {DONE, DIVERGED}
        rows = {name: row for name, row in known_rows(plan).items() if row["status"] in final}
        todo = _runs_to_do(plan, rows)
        for run in todo:
            rows.pop(run.name, None)
        log.info("%d runs, %d of them to do", len(plan.runs), len(todo))
        work = partial(do_run, plan.study.threads, folder / "gpus")
        done = engine(work, todo, ready=lambda run: all(_is_done(rows.get(name)) for name in run.needs))
        if on_running is not None and todo:
            on_progress(0, len(todo))
        with watching(plan, todo, rows, on_running):
            for number, (run, row) in enumerate(done, 1):
                if row is None:
                    row = empty_row(run, DIED, f"its process died; {results_of(run) / 'log.txt'} may say why")
                    write_row(run, row)
                rows[run.name] = row
                _write(folder, plan, rows)
                on_progress(number, len(todo))
        for run in todo:
            if run.name not in rows:
                missing = next(name for name in run.needs if not _is_done(rows[name]))
                reason = f"it needs {missing}, which is {rows[missing]['status']}"
                rows[run.name] = empty_row(run, NOT_RUN, reason)
        add_answer_times(plan, rows, engine=engine)
        _write(folder, plan, rows)
    finally:
        lock.release()
    return rows


def _runs_to_do(plan: StudyPlan, rows: Mapping[str, dict[str, Any]]) -> list[PlannedRun]:
    """The runs without a row, and those whose weights are gone and that these need."""
    names = {name for name in plan.runs if name not in rows}
    for run in reversed(list(plan.runs.values())):  # those that need others stand behind them
        if run.name in names:
            names |= {one for one in run.needs if _is_done(rows.get(one)) and not has_weights(plan.runs[one])}
    return [run for run in plan.in_order() if run.name in names]


def known_rows(plan: StudyPlan) -> dict[str, dict[str, Any]]:
    """The rows of the runs that have one, without doing any."""
    return {name: row for name, run in plan.runs.items() if (row := read_row(run)) is not None}


def describe_plan(plan: StudyPlan, rows: Mapping[str, dict[str, Any]]) -> list[str]:
    """Lines on the number of runs of each arm, how many are done, and where they are."""
    counts = f"{len(plan.runs)} runs, {_num_done(plan.runs, rows)} of them done"
    lines = [f"{plan.study.name}: {counts}, in {plan.study.runs / RUNS}"]
    for arm in dict.fromkeys(run.arm for run in plan.runs.values()):
        names = [name for name, run in plan.runs.items() if run.arm == arm]
        lines.append(f"  {arm}: {len(names)} runs, {_num_done(names, rows)} done")
    return lines


def _num_done(names: Iterable[str], rows: Mapping[str, dict[str, Any]]) -> int:
    return sum(_is_done(rows.get(name)) for name in names)


def _is_done(row: dict[str, Any] | None) -> bool:
    return row is not None and row["status"] == DONE


def _write(folder: Path, plan: StudyPlan, rows: Mapping[str, dict[str, Any]]) -> None:
    lines = (json.dumps(rows[name]) for name in plan.runs if name in rows)
    atomic_write_text(folder / "results.jsonl", "".join(f"{line}\n" for line in lines))
