"""Windows as lines and as a CSV file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dali_pipes.atomic_files import atomic_open
from dali_pipes.file_names import on_one_line
from reskd.inference.answer_lines import best_answers, scores_as_text
from reskd.inference.student import TrainedStudent
from reskd.inference.windows.long_videos import WindowAnswer


def as_text(student: TrainedStudent, found: WindowAnswer, count: int) -> str:
    """For example "match.mp4 12.0-16.0 s: archery 93.1%, bowling 4.0%"."""
    answers = scores_as_text(student, found.scores_K, count)
    note = f" ({_note(found)})" if _note(found) else ""
    return f"{on_one_line(found.file)} {found.start_s:.1f}-{found.end_s:.1f} s: {answers}{note}"


def as_json(student: TrainedStudent, found: WindowAnswer, count: int, **more: Any) -> str:
    """One JSON object: file, start, end, ``more``, frames, damaged, answers; docs/deploy.md says what they mean."""
    answers = best_answers(student, found.scores_K, found.logits_K, count)
    times = {"start": round(found.start_s, 6), "end": round(found.end_s, 6)}
    counts = {"frames": found.num_frames, "damaged": found.num_damaged}
    return json.dumps({"file": found.file, **times, **more, **counts, "answers": answers})


class WindowTable:
    """A CSV file of windows: file, start, end, class_1, score_1, ..., frames, damaged, error."""

    def __init__(self, student: TrainedStudent, write: Any, count: int) -> None:
        self._student, self._write = student, write
        self._count = min(count, len(student.class_names))
        columns = [name for k in range(1, self._count + 1) for name in (f"class_{k}", f"score_{k}")]
        self._add(["file", "start", "end", *columns, "frames", "damaged", "error"])

    @staticmethod
    @contextmanager
    def open(path: Path, student: TrainedStudent, count: int) -> Iterator[WindowTable]:
        """The file appears, whole, when the block ends without an error."""
        with atomic_open(path) as file:
            yield WindowTable(student, file.write, count)

    def add(self, found: WindowAnswer) -> None:
        best = self._student.top(found.scores_K, self._count)
        cells = [cell for name, score in best for cell in (name, f"{score:.6f}")]
        times = [f"{found.start_s:.3f}", f"{found.end_s:.3f}"]
        self._add([found.file, *times, *cells, str(found.num_frames), str(found.num_damaged), ""])

    def add_error(self, file: str, reason: str) -> None:
        """A file without windows."""
        self._add([file, *[""] * (4 + 2 * self._count), reason])

    def _add(self, cells: list[str]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(cells)
        self._write(text.getvalue().encode("utf-8", "surrogateescape"))


def _note(found: WindowAnswer) -> str:
    if found.num_damaged:
        return f"{found.num_damaged} of {found.num_frames} frames damaged"
    return "" if found.num_frames else "no new frame"
