"""transcode.csv: one line with the result of each finished file, from which a killed run continues."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
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
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            for cells in csv.DictReader(file):
                record = _parse(cells)
                if record is not None:
                    records[record.key] = record
    return records


def _parse(cells: Mapping[str, str]) -> Record | None:
    try:
        values: dict[str, Any] = {
            f.name: str(cells[f.name]) if f.type == "str" else int(cells[f.name]) for f in _FIELDS
        }
    except (KeyError, TypeError, ValueError):
        return None
    return Record(**values) if cells["settings"] else None


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
        journal = Journal(file)
        if not text:
            csv.writer(file, lineterminator="\n").writerow([field.name for field in _FIELDS])
        elif not text.endswith("\n"):
            file.write("\n")
        yield journal
