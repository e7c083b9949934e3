"""transcode.csv: one line with the result of each finished file, from which a killed run continues."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import IO, Any

from dali_pipes.jobs.journal_file import open_alone


@dataclass(frozen=True)
class Record:
    """One source file. ``path`` and ``output`` are relative to their roots; the rest as in ``Reencoded``."""

    path: str
    output: str
    frames_in: int
    frames_out: int
    bytes_in: int
    bytes_out: int
    status: str
    mtime_ns: int
    settings: str

    @property
    def usable(self) -> bool:
        return self.status.startswith(("ok", "cut"))

    @property
    def key(self) -> tuple[str, int, int, str]:
        """Changes when the source or the settings change."""
        return self.path, self.bytes_in, self.mtime_ns, self.settings

    def still_holds(self, target_root: Path) -> bool:
        """Whether this file needs no new transcode."""
        if not self.usable:
            return self.status.startswith("bad")
        output = target_root / self.output
        return output.is_file() and output.stat().st_size == self.bytes_out


def journal_path(target_root: Path, shard: tuple[int, int]) -> Path:
    """transcode.csv, or transcode.2of8.csv: machines that share a folder write one file each."""
    return target_root / ("transcode.csv" if shard == (1, 1) else f"transcode.{shard[0]}of{shard[1]}.csv")


def read_journals(target_root: Path) -> dict[tuple[str, int, int, str], Record]:
    """Read the records of all shards by ``Record.key``; later lines win, and truncated lines are skipped."""
    records = {}
    for path in sorted(target_root.glob("transcode*.csv")):
        with path.open(newline="\n", encoding="utf-8", errors="surrogateescape") as file:
            for record in _whole_records(file):
                records[record.key] = record
    return records


def _whole_records(lines: Iterator[str]) -> Iterator[Record]:
    """Parse each line alone, and only if it is no record, with those before it: a path may hold line ends.

    So a cell that a full disk left open, as in ``"x, y``, does not take the next records with it.
    """
    names = _cells(next(lines, ""))
    begun = ""
    for line in lines:
        texts = [line, begun + line] if begun else [line]
        record = next(filter(None, (_parse(names, text) for text in texts)), None)
        if record is not None:
            yield record
        begun = "" if record is not None else next((text for text in reversed(texts) if _is_open(text)), "")


def _is_open(text: str) -> bool:
    """Whether the text may be the beginning of a record that goes on in the next line."""
    return text.count('"') % 2 == 1 and len(text) < _LONGEST_RECORD


def _cells(text: str) -> list[str]:
    """The cells of a row of a CSV; none if the text is not exactly one row."""
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error:
        return []


def _parse(names: Sequence[str], text: str) -> Record | None:
    cells = dict(zip(names, _cells(text), strict=False))
    try:
        values: dict[str, Any] = {f.name: cells[f.name] if f.type == "str" else int(cells[f.name]) for f in _FIELDS}
    except (KeyError, ValueError):
        return None
    return Record(**values) if cells["settings"] else None


_LONGEST_RECORD = 1 << 16  # characters; systems allow paths of 4096 bytes
_FIELDS = fields(Record)


class Journal:
    """An open transcode.csv."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._writer = csv.writer(file, lineterminator="\n")

    def add(self, record: Record) -> None:
        self._writer.writerow(astuple(record))
        self._file.flush()


@contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """Open for adding lines, exclusively for this process.

    Raises:
        ValueError: another process has it open.
        OSError: it cannot be written.
    """
    busy = (
        "expected no other run on this folder, found one; wait for it, or divide the job with --shard 1/2 and --shard "
        "2/2."
    )
    with open_alone(path, busy=busy) as (file, text):
        whole = text[: text.rfind("\n") + 1]  # the last line may be cut short, and other programs should not meet that
        file.truncate(len(whole.encode("utf-8", "surrogateescape")))
        if not whole:
            csv.writer(file, lineterminator="\n").writerow([field.name for field in _FIELDS])
        yield Journal(file)
