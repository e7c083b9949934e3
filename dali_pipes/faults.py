"""The account of clips that could not be shown: counted, written to a file, and a reason to stop when they are many."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

_COLUMNS = ("file", "reason", "position", "attempt")
# A run is not stopped by the first bad clips of a few: the share is taken of at least so many clips.
_FEWEST_CLIPS = 200
_MOST_NAMED = 20


class TooManyBadClipsError(RuntimeError):
    """More clips than ``data.loader.max_bad_fraction`` had to be replaced."""


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
        self.num_clips = 0
        self.num_substituted = 0
        self.num_fallen_back = 0  # clips whose packets were not enough, so that the whole file was decoded
        self.files: Counter[str] = Counter()
        self.reasons: dict[str, str] = {}  # of each file the last

    def add(self, file: str, reason: str, *, position: int, attempt: int) -> None:
        """Note that ``file`` could not be shown at a position."""
        if file not in self.files:
            self._on_message(f"{file} cannot be used: {reason}")
        self.files[file] += 1
        self.reasons[file] = reason
        if self._quarantine is not None:
            self._append(self._quarantine, (file, reason, position, attempt))

    def check(self) -> None:
        """Stop where too many were replaced.

        Raises:
            TooManyBadClipsError: names the files that failed most.
        """
        if self.num_substituted <= self._max_bad_fraction * max(self.num_clips, _FEWEST_CLIPS):
            return
        named = [f"{file} ({count} times): {self.reasons[file]}" for file, count in self.files.most_common(_MOST_NAMED)]
        rest = f"\n... and {len(self.files) - len(named)} more files" if len(self.files) > len(named) else ""
        raise TooManyBadClipsError(
            f"{self.num_substituted} of {self.num_clips} clips had to be replaced, more than "
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
