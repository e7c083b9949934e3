"""``answers.csv.journal``: a line for each answered video, from which a killed reskd predict --output goes on.

The first line says of which student and settings the answers are; lines are JSON. A line that a kill cut short is
passed over, and of several lines of one file the last one holds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from dali_pipes.atomic_files import full_disk_named
from dali_pipes.file_names import on_one_line
from dali_pipes.jobs.journal_file import open_alone

_SCHEMA = 1


@dataclass(frozen=True)
class Recorded:
    """What was answered for one file, or why nothing was.

    Args:
        answers: (class name, score) of the best classes, best first; empty if there is no answer.
        error: the reason; empty if there is an answer.
    """

    answers: tuple[tuple[str, float], ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Stamp:
    """Size and time of change of a file: it is answered again once these differ."""

    size: int
    mtime_ns: int

    @staticmethod
    def of(file: str) -> Stamp | None:
        """None if the file is gone."""
        try:
            found = os.stat(file)  # noqa: PTH116 -- a Path for each of a million files takes seconds
        except OSError:
            return None
        return Stamp(found.st_size, found.st_mtime_ns)


class Journal:
    """An open journal, with what it already holds."""

    def __init__(self, file: IO[str], path: Path, known: dict[str, tuple[Stamp, Recorded]]) -> None:
        self._file, self._path, self._known = file, path, known

    def find(self, name: str) -> Recorded | None:
        """The record of a file that is as it was then."""
        stamp, recorded = self._known.get(name, (None, None))
        return recorded if stamp is not None and stamp == Stamp.of(name) else None

    def add(self, name: str, stamp: Stamp, recorded: Recorded) -> None:
        """Append a record; it is with the system when this returns, so that killing this process loses nothing."""
        self._known[name] = (stamp, recorded)
        line = {"file": name, "size": stamp.size, "mtime_ns": stamp.mtime_ns}
        line |= {"error": recorded.error} if recorded.error else {"answers": recorded.answers}
        with full_disk_named(self._path):
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()


@contextmanager
def open_journal(path: Path, about: Mapping[str, Any]) -> Iterator[Journal]:
    """Open for reading and adding, exclusively for this process.

    Args:
        about: plain values that decide the answers; those of the journal must be the same.

    Raises:
        ValueError: another process has it open, it is of another student or other settings, or it is no journal.
        OSError: it cannot be written.
    """
    busy = "expected no other run that writes these answers, found one; wait for it, or choose another --output."
    with open_alone(path, busy=busy) as (file, text):
        head, _, rest = text.partition("\n")
        if rest or text.endswith("\n"):
            _check_same(path, head, about)
        else:  # new, or killed in its first line
            file.truncate(0)
            file.write(json.dumps({"schema": _SCHEMA, **about}) + "\n")
            file.flush()
        if rest and not rest.endswith("\n"):
            file.write("\n")
        yield Journal(file, path, dict(filter(None, map(_parse, rest.splitlines()))))


def _check_same(path: Path, head: str, about: Mapping[str, Any]) -> None:
    expected: dict[str, Any] = json.loads(json.dumps({"schema": _SCHEMA, **about}))
    try:
        found = json.loads(head)
    except ValueError:
        found = None
    if not isinstance(found, dict) or "schema" not in found:
        raise ValueError(f"{path}: expected a journal of reskd predict, found another file; choose another --output.")
    differing = [key for key in {**expected, **found} if expected.get(key) != found.get(key)]
    if differing:
        others = ", ".join(f"{key} {_shown(found.get(key))}, now {_shown(expected.get(key))}" for key in differing)
        raise ValueError(
            f"{path}: expected answers of this student and these settings, found others ({others}); choose another "
            f"--output, or delete {on_one_line(path.name)} to begin again."
        )


def _shown(value: object) -> str:
    return str(value)[:12]


def _parse(line: str) -> tuple[str, tuple[Stamp, Recorded]] | None:
    try:
        found = json.loads(line)
        answers = tuple((str(name), float(score)) for name, score in found.get("answers", ()))
        recorded = Recorded(answers, str(found.get("error", "")))
        return str(found["file"]), (Stamp(int(found["size"]), int(found["mtime_ns"])), recorded)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
