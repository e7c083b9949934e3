"""Does one run of a study in a worker process: trains it, scores it, and writes its row and its scores.

The run itself is in runs/study_runs/NAME, as any run. runs/study_results/NAME gets ``SPLIT_CHECKPOINT.json`` (the row),
``SPLIT_CHECKPOINT.npz`` (the scores of each video) and ``log.txt``.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from dali_pipes.atomic_files import DiskFullError, atomic_open, atomic_write_text
from reskd.faults import sentence_of
from reskd.study.plan import PlannedRun
from reskd.study.scores import scores_of, write_scores

# Status of a row.
DONE, FAILED, DIVERGED, DIED, NOT_RUN = "done", "failed", "diverged", "died", "not run"

_slot: IO[str] | None = None  # the lock of this process's GPU


def results_of(run: PlannedRun) -> Path:
    """The folder of a run's row, scores and log."""
    return run.folder.parents[1] / "study_results" / run.name


def row_path(run: PlannedRun) -> Path:
    return results_of(run) / f"{run.split}_{run.checkpoint}.json"


def scores_path(run: PlannedRun) -> Path:
    return results_of(run) / f"{run.split}_{run.checkpoint}.npz"


def read_row(run: PlannedRun) -> dict[str, Any] | None:
    """The row of an earlier start; None if there is none, or its scores are gone."""
    path = row_path(run)
    if not path.is_file():
        return None
    row: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return row if row["status"] != DONE or scores_path(run).is_file() else None


def has_weights(run: PlannedRun) -> bool:
    """Whether the checkpoints that other runs may need are there, trained to the end.

    A row may be older than they are: a run that is made again for its weights can be stopped halfway. Of damaged ones
    the answer is no; the run, made again, then says what is wrong.
    """
    from reskd.experiment.provenance import is_trained

    try:
        return not run.is_trained or ((run.folder / f"{run.checkpoint}.pt").is_file() and is_trained(run.config))
    except ValueError:
        return False


def write_row(run: PlannedRun, row: dict[str, Any]) -> None:
    """Write a run's row; a result stays where the run, made again for its weights, fails."""
    if row["status"] != DONE and (known := read_row(run)) is not None and known["status"] == DONE:
        return
    results_of(run).mkdir(parents=True, exist_ok=True)
    atomic_write_text(row_path(run), json.dumps(row, indent=1) + "\n")


def empty_row(run: PlannedRun, status: str, reason: str) -> dict[str, Any]:
    """A row without a result."""
    return {"run": run.name, "arm": run.arm, "status": status, "reason": reason}


def do_run(threads: int, gpu_locks: Path, run: PlannedRun) -> dict[str, Any]:
    """Train and score one run; returns its row, which is also written.

    Whatever is wrong with the run becomes the row's reason, and others go on. A full disk is raised: they would fail
    too.

    Args:
        threads: torch's threads on a CPU.
        gpu_locks: folder in which processes of this machine share its GPUs, one for each.

    Raises:
        DiskFullError: there is no room.
    """
    import torch

    torch.set_num_threads(threads)
    _take_gpu(gpu_locks, torch.cuda.device_count())
    results_of(run).mkdir(parents=True, exist_ok=True)
    with _log_in(results_of(run) / "log.txt"):
        try:
            row = _result(run)
        except DiskFullError:
            raise
        except Exception as error:
            logging.getLogger(__name__).error("%s", traceback.format_exc())
            status = DIVERGED if isinstance(error, FloatingPointError) else FAILED
            row = empty_row(run, status, sentence_of(error) or f"{type(error).__name__}: {error}")
    write_row(run, row)
    return row


def _result(run: PlannedRun) -> dict[str, Any]:
    from reskd.distributed import joined_world
    from reskd.experiment.provenance import is_trained
    from reskd.experiment.run import score_checkpoint, train_experiment

    config = run.config
    with joined_world(config.device) as world:
        was_started = run.is_trained and (config.folder / "last.pt").is_file()
        wall, cpu = time.perf_counter(), time.process_time()
        if run.is_trained and not is_trained(config):
            train_experiment(config, world=world, overwrite=not was_started, report=False)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        folder = config.folder if run.is_trained else config.runs / run.weights
        checkpoint = folder / f"{run.checkpoint}.pt"
        if not checkpoint.is_file() and run.checkpoint == "best":
            raise ValueError(
                f"{folder}: expected best.pt, which a validation writes, found none; set data.val_fraction or "
                "data.val_pattern, or checkpoint: last in the study."
            )
        scored = score_checkpoint(
            config, checkpoint, world=world, split=run.split, batch_size=min(64, config.training.global_batch_size)
        )
    with atomic_open(scores_path(run)) as file:
        write_scores(scores_of(run, scored), file)
    _free(run)
    result = scored.result
    return {
        **empty_row(run, DONE, ""),
        **{key: result[key] for key in ("metrics", "coverage", "gmacs_per_video", "videos_per_second", "protocol")},
        **{key: result[key] for key in ("num_steps", "manifest_hash", "environment")},
        "train_seconds": None if was_started else round(wall, 2),
        "train_cpu_seconds": None if was_started else round(cpu, 2),
    }


def _free(run: PlannedRun) -> None:
    """Delete the checkpoints of a run that nothing else needs."""
    if run.is_trained and not run.keeps:
        for path in (run.folder / "last.pt", run.folder / "best.pt", *run.folder.glob("epoch_*.pt")):
            path.unlink(missing_ok=True)


@contextmanager
def _log_in(path: Path) -> Iterator[None]:
    """Write this process's log to ``path`` too; the screen gets neither it nor warnings."""
    root = logging.getLogger()
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    before = root.handlers, root.level
    root.handlers, root.level = [handler], logging.INFO
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers, root.level = before
        handler.close()


def _take_gpu(folder: Path, num_gpus: int) -> None:
    """Make one GPU of this machine that no other process of the study has the only one of this process.

    Must come before the first use of a GPU. With more processes than GPUs, those left over share the first.
    """
    global _slot
    if num_gpus < 2 or _slot is not None:
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(number) for number in range(num_gpus)]
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        slot = (folder / f"{os.uname().nodename}-gpu{name}.lock").open("w")
        try:
            fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            slot.close()
            continue
        _slot = slot
        os.environ["CUDA_VISIBLE_DEVICES"] = name
        return
