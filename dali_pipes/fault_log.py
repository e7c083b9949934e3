"""Log clips that could not be read: they are counted, written to a file, and stop the run if there are too many."""

from __future__ import annotations

import csv
import io
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple, TypedDict

from dali_pipes.atomic_files import append_whole, atomic_write_text
from dali_pipes.file_names import on_one_line
from dali_pipes.regular_files import file_is_there

log = logging.getLogger(__name__)

_COLUMNS = ("file", "reason", "position", "attempt")
# The fraction is taken of at least this many clips, so that the first bad clips do not stop a run.
_FEWEST_CLIPS = 200
_MOST_NAMED = 20
_POSITION = re.compile(r"-1|[0-9]{1,18}")


_said: ContextVar[set[str] | None] = ContextVar("_said", default=None)


@contextmanager
def saying_once() -> Iterator[None]:
    """Within it, ``is_new`` knows what was said: the stages of one training mostly read the same files."""
    before = _said.set(set())
    try:
        yield
    finally:
        _said.reset(before)


def is_new(sentence: str) -> bool:
    """Whether nobody asked for ``sentence`` before within ``saying_once``; True outside it."""
    said = _said.get()
    if said is None:
        return True
    is_first = sentence not in said
    said.add(sentence)
    return is_first


class FaultCounts(TypedDict):
    """Counts of served and replaced clips, as plain values for a checkpoint."""

    num_served: int
    num_substituted: int
    num_fallen_back: int
    files: dict[str, int]  # number of failures of each
    reasons: dict[str, str]  # last reason of each file


def sum_counts(parts: Iterable[FaultCounts]) -> FaultCounts:
    """Sum the counts of all ranks; without any, all counts are zero."""
    total = FaultCounts(num_served=0, num_substituted=0, num_fallen_back=0, files={}, reasons={})
    for part in parts:
        total["num_served"] += part["num_served"]
        total["num_substituted"] += part["num_substituted"]
        total["num_fallen_back"] += part["num_fallen_back"]
        for file, count in part["files"].items():
            total["files"][file] = total["files"].get(file, 0) + count
        total["reasons"] |= part["reasons"]
    return total


class UnreadableDataError(RuntimeError):
    """Clips cannot be read, or too few; the message is for the user."""


class TooManyBadClipsError(UnreadableDataError):
    """More clips than ``data.loader.max_bad_fraction`` had to be replaced."""


class LoaderLog(NamedTuple):
    """Where a loader reports faults.

    Args:
        quarantine: CSV to append to, with a line for each clip that could not be read; for an evaluation, of its last
            pass only. None: no CSV.
        on_message: called with a sentence when a file fails for the first time, or the pipeline restarts.
    """

    quarantine: Path | None = None
    on_message: Callable[[str], None] = lambda message: None


NO_LOG = LoaderLog()


class FaultLog:
    """Counts the clips that one loader served and replaced.

    Args:
        quarantine: CSV to append to, with a line for each clip that could not be read; None: no CSV.
        max_bad_fraction: largest fraction of clips that may be substituted.
        on_message: called with a sentence when a file fails for the first time.
    """

    def __init__(
        self,
        quarantine: Path | None,
        max_bad_fraction: float,
        on_message: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._quarantine = quarantine
        self._max_bad_fraction = max_bad_fraction
        self._on_message = on_message
        self.num_served = 0
        self.num_substituted = 0
        self.num_fallen_back = 0  # clips for which the whole file was decoded, as their packets did not suffice
        self.files: Counter[str] = Counter()
        self.reasons: dict[str, str] = {}  # last reason of each file

    def add(self, file: str, reason: str, *, position: int, attempt: int) -> None:
        """Record that ``file`` could not be read for a position."""
        sentence = f"{on_one_line(file)} cannot be used: {reason}"
        if file not in self.reasons and is_new(sentence):
            self._on_message(sentence)
        self.files[file] += 1
        self.reasons[file] = reason
        if self._quarantine is not None:
            self._append(self._quarantine, (file, reason, position, attempt))

    def counts(self) -> FaultCounts:
        return FaultCounts(
            num_served=self.num_served,
            num_substituted=self.num_substituted,
            num_fallen_back=self.num_fallen_back,
            files=dict(self.files),
            reasons=dict(self.reasons),
        )

    def restore(self, total: FaultCounts, *, rank: int, world_size: int) -> None:
        """Restore this rank's equal share of earlier counts.

        The shares of all ranks add up to ``total``, so earlier clips and new ones have the same weight in the fraction.
        """

        def part(count: int, turn: int = 0) -> int:
            """An equal share; the remainder goes to the last ranks, one each; ``turn`` shifts these ranks."""
            share, left_over = divmod(count, world_size)
            return share + ((rank + turn) % world_size >= world_size - left_over)

        self.num_served, self.num_substituted = part(total["num_served"]), part(total["num_substituted"])
        self.num_fallen_back = part(total["num_fallen_back"])
        parts = {file: part(count, turn) for turn, (file, count) in enumerate(sorted(total["files"].items()))}
        self.files = Counter({file: count for file, count in parts.items() if count})
        self.reasons = dict(total["reasons"])

    def start_pass(self) -> None:
        """Reset the counts and the CSV: each pass of an evaluation reads the same clips again."""
        self.num_served = self.num_substituted = self.num_fallen_back = 0
        self.files.clear()
        if self._quarantine is not None:
            self._quarantine.unlink(missing_ok=True)

    def check(self) -> None:
        """Stop if too many clips were replaced.

        Raises:
            TooManyBadClipsError: too many were; names the files that failed most.
        """
        if self.num_substituted <= self._max_bad_fraction * max(self.num_served, _FEWEST_CLIPS):
            return
        named = [
            f"{on_one_line(file)} ({count} times): {self.reasons[file]}"
            for file, count in self.files.most_common(_MOST_NAMED)
        ]
        rest = f"\n... and {len(self.files) - len(named)} more files" if len(self.files) > len(named) else ""
        raise TooManyBadClipsError(
            f"{self.num_substituted} of {self.num_served} clips had to be replaced, more than "
            f"data.loader.max_bad_fraction={self._max_bad_fraction:g} allows; repair or remove these files:\n"
            + "\n".join(named)
            + rest
        )

    def _append(self, path: Path, row: tuple[object, ...]) -> None:
        """Append a line in one write, so that lines of several processes do not mix."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        if not path.exists():
            writer.writerow(_COLUMNS)
        writer.writerow(row)
        append_whole(path, text.getvalue().encode("utf-8", "surrogateescape"))


def _rows_of(text: str) -> list[dict[str, str]]:
    """The rows of a quarantine that are whole: a killed run may have cut the last one, a broken disk any."""
    found: list[dict[str, str]] = []
    reader = csv.reader(io.StringIO(text.replace("\0", ""), newline=""))
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return found
        except csv.Error:
            continue
        if len(row) == len(_COLUMNS) and _POSITION.fullmatch(row[2]) and _POSITION.fullmatch(row[3]):
            found.append(dict(zip(_COLUMNS, row, strict=True)))


def _num_records(text: str) -> int:
    """Lines of a table with a header; a line break within quotes starts none."""
    return sum(bool(line.strip()) for line in re.sub(r'"[^"]*"', "", text).splitlines())


def drop_lines_from(quarantine: Path, first_position: int) -> None:
    """Keep only lines of positions before ``first_position``: a resumed run reads the others again and writes them.

    Lines of hangs have no position and are kept.
    """
    if not file_is_there(quarantine, "the list of clips that could not be read", advice="remove it"):
        return
    text_there = quarantine.read_bytes().decode("utf-8", "surrogateescape")
    rows = _rows_of(text_there)
    if len(rows) + 1 < _num_records(text_there):
        log.warning("%s: %d of its lines are whole; the others are left out", quarantine, len(rows))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _COLUMNS)
    writer.writeheader()
    writer.writerows(row for row in rows if int(row["position"]) < first_position)
    atomic_write_text(quarantine, text.getvalue(), errors="surrogateescape")
