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
from reskd.study.work import DIED, DIVERGED, DONE, NOT_RUN, do_run, empty_row, read_row, results_of, write_row
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
) -> dict[str, dict[str, Any]]:
    """Do the runs that are not done, and write ``results.jsonl`` after each; returns the rows by the run's name.

    At the end, the time from a file to scores is measured for the arms that have none: answer_times.py.

    A run that failed is tried again; one that diverged is not, as it would again, unless ``retry``.

    Args:
        engine: does several runs at once.
        on_progress: gets (runs done, runs to do) after each.

    Raises:
        OSError: another process works on this study; the disk is full.
    """
    folder = study_folder(plan)
    lock = RunLock(folder)
    lock.take()
    try:
        final = {DONE} if retry else {DONE, DIVERGED}
        rows = {name: row for name, row in known_rows(plan).items() if row["status"] in final}
        num_todo, num_done = len(plan.runs) - len(rows), 0
        log.info("%d runs, %d of them to do", len(plan.runs), num_todo)
        work = partial(do_run, plan.study.threads, folder / "gpus")
        for level in plan.levels():
            todo = [run for run in level if run.name not in rows]
            for run in todo:
                if (missing := _missing(run, rows)) is not None:
                    rows[run.name] = empty_row(run, NOT_RUN, missing)
            for run, row in engine(work, [run for run in todo if run.name not in rows]):
                if row is None:
                    row = empty_row(run, DIED, f"its process died; {results_of(run) / 'log.txt'} may say why")
                    write_row(run, row)
                rows[run.name] = row
                num_done += 1
                _write(folder, plan, rows)
                on_progress(num_done, num_todo)
        add_answer_times(plan, rows, engine=engine)
        _write(folder, plan, rows)
    finally:
        lock.release()
    return rows


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
    return sum(name in rows and rows[name]["status"] == DONE for name in names)


def _missing(run: PlannedRun, rows: Mapping[str, dict[str, Any]]) -> str | None:
    """Why a run cannot be done: a run that it needs is not done."""
    for name in run.needs:
        if rows[name]["status"] != DONE:
            return f"it needs {name}, which is {rows[name]['status']}"
    return None


def _write(folder: Path, plan: StudyPlan, rows: Mapping[str, dict[str, Any]]) -> None:
    lines = (json.dumps(rows[name]) for name in plan.runs if name in rows)
    atomic_write_text(folder / "results.jsonl", "".join(f"{line}\n" for line in lines))
