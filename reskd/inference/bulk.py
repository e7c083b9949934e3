"""Answers many videos into a CSV file; a run that was killed goes on where it stopped.

Each answer goes into a journal beside the CSV at once (bulk_journal.py). The CSV is written when every file has an
answer, in the order of the files, so it is the same whether or not the run was interrupted: an answer does not depend
on other videos (one_pass.py).
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dali_pipes.atomic_files import atomic_write_text
from reskd.experiment.data import data_of
from reskd.inference.answers import Answer, NoAnswer, OnProgress, VideoSettings
from reskd.inference.bulk_journal import Journal, Recorded, Stamp, open_journal
from reskd.inference.given_files import GivenVideos
from reskd.inference.student import TrainedStudent
from reskd.inference.videos import answer_videos


@dataclass(frozen=True)
class BulkResult:
    """The outcome of all files.

    Args:
        rows: (file, record), in the order of the files.
        num_known: files that the journal of an earlier run had.
    """

    rows: tuple[tuple[str, Recorded], ...]
    num_known: int

    @property
    def reasons(self) -> list[str]:
        """Why files have no answer."""
        return [recorded.error for _, recorded in self.rows if recorded.error]


def journal_of(output: Path) -> Path:
    """answers.csv.journal, beside answers.csv."""
    return output.with_name(f"{output.name}.journal")


def answer_into(
    output: Path,
    student: TrainedStudent,
    paths: Sequence[str | Path],
    *,
    about: Mapping[str, Any],
    settings: VideoSettings,
    top: int,
    on_message: Callable[[str], None] = lambda message: None,
    on_progress: OnProgress = lambda noun, done, total: None,
) -> BulkResult:
    """Answer each file once and write ``output``; answers of an earlier run are used again.

    Args:
        about: as ``settings_of_answers``.
        top: number of classes for each video.

    Raises:
        ValueError: as ``open_journal``.
        OSError: a file cannot be written.
    """
    given = GivenVideos.of(paths, on_message)
    rows = [(file, Recorded(error=reason)) for file, reason in given.missing]
    with open_journal(journal_of(output), about) as journal:
        todo = [file for file in given.files if journal.find(file) is None]
        num_known = len(given.files) - len(todo)
        if num_known:
            on_message(f"{output}: {num_known} of {len(given.files)} files were answered before; going on")
        recorded = _answer_all(journal, student, todo, settings, top, on_message, on_progress)
        for file in given.files:
            rows.append((file, recorded.get(file) or journal.find(file) or Recorded(error="it changed meanwhile")))
        atomic_write_text(output, _as_csv(rows, top), errors="surrogateescape")
    return BulkResult(tuple(rows), num_known)


def _answer_all(
    journal: Journal,
    student: TrainedStudent,
    todo: Sequence[str],
    settings: VideoSettings,
    top: int,
    on_message: Callable[[str], None],
    on_progress: OnProgress,
) -> dict[str, Recorded]:
    """Answer these files; each answer is in the journal before the next.

    The result holds them too, if they change or go. A file without an answer is not in the journal, as the next run may
    find the disk or the machine in order again.
    """
    # Before reading, so that a file that changes meanwhile is answered again by the next run.
    stamps = {file: Stamp.of(file) for file in todo}
    recorded = {}
    for found in answer_videos(student, todo, settings, on_message=on_message, on_progress=on_progress):
        recorded[found.file] = _recorded(student, found, top)
        stamp = stamps[found.file]
        if stamp is not None and isinstance(found, Answer):
            journal.add(found.file, stamp, recorded[found.file])
    return recorded


def settings_of_answers(checkpoint: Path, student: TrainedStudent, settings: VideoSettings, top: int) -> dict[str, Any]:
    """What decides the answers, as plain values: the checkpoint's bytes, and how videos are read."""
    digest = hashlib.sha256()
    with checkpoint.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    test_views = settings.test_views or data_of(student.config).test_views("test")
    return {
        "student": digest.hexdigest(),
        "clips": test_views.num_temporal_clips,
        "crops": test_views.num_crops,
        "scan": settings.scan,
        "device": student.device.type,
        "top": top,
        **({"temperature": student.temperature} if student.temperature != 1 else {}),
    }


def _recorded(student: TrainedStudent, found: Answer | NoAnswer, top: int) -> Recorded:
    if isinstance(found, NoAnswer):
        return Recorded(error=found.reason or "it could not be read")
    return Recorded(tuple(student.top(found.scores_K, top)))


def _as_csv(rows: Sequence[tuple[str, Recorded]], top: int) -> str:
    num_classes = max([len(recorded.answers) for _, recorded in rows], default=top)
    columns = [name for k in range(1, num_classes + 1) for name in (f"class_{k}", f"score_{k}")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", *columns, "error"])
    for file, recorded in rows:
        cells = [cell for name, score in recorded.answers for cell in (name, f"{score:.6f}")]
        writer.writerow([file, *cells, *[""] * (len(columns) - len(cells)), recorded.error])
    return text.getvalue()
