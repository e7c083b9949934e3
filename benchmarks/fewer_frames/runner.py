"""Runs cases in one process, one after another, through the ordinary trainer; writes a row for each."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reskd.distributed import World
from reskd.experiment.config import ExperimentConfig
from reskd.experiment.run import score_checkpoint, train_experiment
from reskd.profiling.measurement_rows import append_rows, read_rows
from reskd.training.run_directory import RunDirectory, config_hash

log = logging.getLogger(__name__)

METRICS = ("gap", "map", "hit1", "perr", "top1")
_MEASURED = ("config_hash", "videos", *METRICS, "loss", "mmacs", "train_seconds", "train_cpu_seconds")


@dataclass(frozen=True)
class Planned:
    """A run to make.

    Args:
        columns: the columns of a row that identify it.
        keeps: its folder is kept when it is done, as students need it.
    """

    columns: Mapping[str, object]
    config: ExperimentConfig
    keeps: bool


def run_all(
    planned: Sequence[Planned],
    *,
    csv: Path,
    about: Mapping[str, object],
    world: World,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Train and score the runs without a row, in order; return their number.

    A run that was stopped resumes from its checkpoint; as its times are not known, their cells stay empty. Folders of
    finished students are deleted.

    Args:
        about: the first columns of every row.

    Raises:
        ValueError: the CSV has other columns; or as train_experiment.
    """
    _check_columns(csv, [*about, *planned[0].columns, *_MEASURED])
    done = known_hashes(csv)
    todo = [one for one in planned if config_hash(one.config.resolved()) not in done]
    log.info("%d runs, %d of them to do", len(planned), len(todo))
    for number, one in enumerate(todo, start=1):
        append_rows(csv, [{**about, **one.columns, **_run(one.config, world)}])
        if not one.keeps:
            shutil.rmtree(one.config.folder)
        on_progress(number, len(todo))
    return len(todo)


def known_hashes(csv: Path) -> set[str]:
    """The hashes of the configs that have a row."""
    return {row["config_hash"] for row in read_rows(csv)} if csv.exists() else set()


def _check_columns(csv: Path, expected: Sequence[str]) -> None:
    """Fail before an hour of runs instead of at their first row."""
    rows = read_rows(csv) if csv.exists() else []
    if rows and list(rows[0]) != list(expected):
        raise ValueError(f"{csv}: expected the columns {list(expected)}, found {list(rows[0])}; name another --csv.")


def _run(config: ExperimentConfig, world: World) -> dict[str, object]:
    is_resumed = RunDirectory(config.folder).last.exists()
    wall, cpu = time.perf_counter(), time.process_time()
    run = train_experiment(config, world=world, report=False)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    result = score_checkpoint(config, run.last, world=world, batch_size=config.training.global_batch_size).result
    metrics = result["metrics"]
    return {
        "config_hash": config_hash(config.resolved()),
        "videos": result["coverage"]["scored"],
        **{name: round(metrics[name], 5) if name in metrics else "" for name in METRICS},
        "loss": round(_last_loss(run.metrics), 5),
        "mmacs": round(result["gmacs_per_video"] * 1e3, 4),
        "train_seconds": "" if is_resumed else round(wall, 2),
        "train_cpu_seconds": "" if is_resumed else round(cpu, 2),
    }


def _last_loss(metrics: Path) -> float:
    """The last logged task loss of the training."""
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    return float(next(line["loss/task"] for line in reversed(lines) if "loss/task" in line))
