"""The results of a study as one small file: the row and the scores of each run that is done, without checkpoints.

From it anyone makes the report again in seconds, or goes on with the study where no run's folder is left. The file is a
zip with ``RUN/SPLIT_CHECKPOINT.json`` and ``RUN/SPLIT_CHECKPOINT.npz``; equal results give equal bytes.
"""

from __future__ import annotations

import io
import json
import lzma
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dali_pipes.atomic_files import atomic_open
from reskd.study.plan import PlannedRun, StudyPlan
from reskd.study.scores import RunScores, read_scores, write_scores
from reskd.study.work import DONE, read_row, row_path, scores_path, write_row


def write_archive(plan: StudyPlan, rows: Mapping[str, Mapping[str, Any]], path: Path) -> int:
    """Write the results of the runs that are done; returns how many.

    Raises:
        OSError: the file cannot be written.
    """
    done = [run for name, run in plan.runs.items() if name in rows and rows[name]["status"] == DONE]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_open(path) as file, zipfile.ZipFile(file, "w") as archive:
        for run in done:
            scores = io.BytesIO()
            write_scores(read_scores(scores_path(run), run), scores)
            _add(archive, _member(run, row_path(run)), json.dumps(_portable(rows[run.name])).encode())
            _add(archive, _member(run, scores_path(run)), scores.getvalue())
    return len(done)


def read_archive(plan: StudyPlan, path: Path) -> int:
    """Take over the results of those runs of the plan that have none here; returns how many.

    Results of runs that are not in the plan are left: those of other settings.

    Raises:
        FileNotFoundError, ValueError: no such file, or it is damaged or no archive; names it. Nothing is taken over.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected the archive of a study at {path}, found none.")
    try:
        with zipfile.ZipFile(path) as archive:
            members = set(archive.namelist())
            found = [
                (run, *_read(archive, run))
                for run in plan.runs.values()
                if {_member(run, row_path(run)), _member(run, scores_path(run))} <= members
            ]
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path}: expected the archive of a study, found a damaged or another file ({error})."
        ) from None
    taken = 0
    for run, row, scores in found:
        known = read_row(run)
        if known is None or known["status"] != DONE:
            write_row(run, row)  # makes the folder
            with atomic_open(scores_path(run)) as file:
                write_scores(scores, file)
            taken += 1
    return taken


def _read(archive: zipfile.ZipFile, run: PlannedRun) -> tuple[dict[str, Any], RunScores]:
    row = json.loads(archive.read(_member(run, row_path(run))))
    if not isinstance(row, dict) or row.get("status") != DONE or row.get("run") != run.name:
        raise ValueError(f"the row of {run.name} is none")
    return row, read_scores(io.BytesIO(archive.read(_member(run, scores_path(run)))), run)


def _portable(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without what says nothing about the result: the kernel of the machine."""
    about = {key: value for key, value in row.get("environment", {}).items() if key != "kernel"}
    return {**row, "environment": about}


def _member(run: PlannedRun, path: Path) -> str:
    return f"{run.name}/{path.name}"


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """With the date that a zip begins at, so that equal results give equal bytes."""
    archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_LZMA)
