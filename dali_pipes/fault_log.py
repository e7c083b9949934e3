"""The account of clips that could not be shown: counted, written to a file, and a reason to stop when they are many."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, TypedDict

from dali_pipes.atomic_files import atomic_write_text

_COLUMNS = ("file", "reason", "position", "attempt")
# A run is not stopped by the first bad clips of a few: the share is taken of at least so many clips.
_FEWEST_CLIPS = 200
_MOST_NAMED = 20


class FaultCounts(TypedDict):
    """What was served and what had to be replaced, in plain values, for a checkpoint."""

    num_served: int
    num_substituted: int
    num_fallen_back: int
    files: dict[str, int]  # how often each failed
    reasons: dict[str, str]  # the last one of each file


def sum_counts(parts: Iterable[FaultCounts]) -> FaultCounts:
    """The counts of all ranks together; of none: zeros."""
    total = FaultCounts(num_served=0, num_substituted=0, num_fallen_back=0, files={}, reasons={})
    for part in parts:
        total["num_served"] += part["num_served"]
        total["num_substituted"] += part["num_substituted"]
        total["num_fallen_back"] += part["num_fallen_back"]
        for file, count in part["files"].items():
            total["files"][file] = total["files"].get(file, 0) + count
        total["reasons"] |= part["reasons"]
    return total


class TooManyBadClipsError(RuntimeError):
    """More clips than ``data.loader.max_bad_fraction`` had to be replaced."""


class LoaderLog(NamedTuple):
    """Where a loader says what goes wrong.

    Args:
        quarantine: CSV to append to, a line for each clip that could not be shown; of an evaluation the lines of its
            last pass. None: none is written.
        on_message: called with a sentence when a file fails for the first time, or the pipeline is started again.
    """

    quarantine: Path | None = None
    on_message: Callable[[str], None] = lambda message: None


NO_LOG = LoaderLog()


class FaultLog:
    """Counts what one loader served and what it had to replace.

    Args:
        quarantine: CSV to append to, a line for each clip that could not be shown; None: none is written.
        max_bad_fraction: share of clips that substitutes may stand in for.
        on_message: called with a sentence for each file, the first time that it fails.
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
        self.num_fallen_back = 0  # clips whose packets were not enough, so that the whole file was decoded
        self.files: Counter[str] = Counter()
        self.reasons: dict[str, str] = {}  # of each file the last

    def add(self, file: str, reason: str, *, position: int, attempt: int) -> None:
        """Note that ``file`` could not be shown at a position."""
        if file not in self.reasons:
            self._on_message(f"{file} cannot be used: {reason}")
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

    def go_on(self, total: FaultCounts, *, rank: int, world_size: int) -> None:
        """Take this rank's part of what all ranks counted before: an equal one, so that the parts' sum is ``total`` and
        the share weighs what came before like what this rank sees from now on."""

        def part(count: int, turn: int = 0) -> int:
            """An equal share; what is left over goes to the last ranks, one each, or with ``turn`` to others."""
            share, left_over = divmod(count, world_size)
            return share + ((rank + turn) % world_size >= world_size - left_over)

        self.num_served, self.num_substituted = part(total["num_served"]), part(total["num_substituted"])
        self.num_fallen_back = part(total["num_fallen_back"])
        parts = {file: part(count, turn) for turn, (file, count) in enumerate(sorted(total["files"].items()))}
        self.files = Counter({file: count for file, count in parts.items() if count})
        self.reasons = dict(total["reasons"])

    def start_pass(self) -> None:
        """Forget what was counted and listed: an evaluation shows the same clips again in each pass."""
        self.num_served = self.num_substituted = self.num_fallen_back = 0
        self.files.clear()
        if self._quarantine is not None:
            self._quarantine.unlink(missing_ok=True)

    def check(self) -> None:
        """Stop where too many were replaced.

        Raises:
            TooManyBadClipsError: names the files that failed most.
        """
        if self.num_substituted <= self._max_bad_fraction * max(self.num_served, _FEWEST_CLIPS):
            return
        named = [f"{file} ({count} times): {self.reasons[file]}" for file, count in self.files.most_common(_MOST_NAMED)]
        rest = f"\n... and {len(self.files) - len(named)} more files" if len(self.files) > len(named) else ""
        raise TooManyBadClipsError(
            f"{self.num_substituted} of {self.num_served} clips had to be replaced, more than "
            f"data.loader.max_bad_fraction={self._max_bad_fraction:g} allows; mend or leave out these files:\n"
            + "\n".join(named)
            + rest
        )

    def _append(self, path: Path, row: tuple[object, ...]) -> None:
        """One write a line, so that lines of several processes do not mix."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            writer.writerow(_COLUMNS)
        writer.writerow(row)
        with path.open("ab", buffering=0) as file:
            file.write(text.getvalue().encode("utf-8", "surrogateescape"))


def drop_lines_from(quarantine: Path, first_position: int) -> None:
    """Keep the lines of positions before ``first_position``: a resumed run will see the others again, and write them.

    A hang belongs to no position and stays.
    """
    if not quarantine.exists():
        return
    with quarantine.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _COLUMNS)
    writer.writeheader()
    writer.writerows(row for row in rows if row["attempt"] and int(row["position"]) < first_position)
    atomic_write_text(quarantine, text.getvalue(), errors="surrogateescape")
