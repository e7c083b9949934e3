"""A line that says how far a long job is, how fast it goes and when it ends."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_LINE_EVERY_S = {True: 0.5, False: 60.0}  # on a terminal, in a log


class ProgressLine:
    """Called with (done, total); rewrites one line of a terminal, or writes a line a minute elsewhere."""

    def __init__(self, noun: str, stream: TextIO | None = None) -> None:
        self._noun = noun
        self._stream = stream or sys.stderr
        self._start_s = time.monotonic()
        self._next_s = self._start_s

    def __call__(self, done: int, total: int) -> None:
        now_s = time.monotonic()
        if now_s < self._next_s and done < total:
            return
        is_terminal = self._stream.isatty()
        self._next_s = now_s + _LINE_EVERY_S[is_terminal]
        line = describe_progress(done, total, self._noun, now_s - self._start_s)
        last = "\n" if done == total or not is_terminal else ""
        self._stream.write(f"\r{line:<78}{last}" if is_terminal else f"{line}{last}")
        self._stream.flush()

    def clear(self) -> None:
        """Take the line off a terminal, for something else to be printed there."""
        if self._stream.isatty():
            self._stream.write(f"\r{'':<78}\r")
            self._stream.flush()


def describe_progress(done: int, total: int, noun: str, elapsed_s: float) -> str:
    """Such as "12 of 400 files, 3.1 files/s, 0:02:05 left"."""
    per_s = done / max(elapsed_s, 1e-9)
    left = hours_minutes_seconds((total - done) / per_s) if done else "?"
    return f"{done} of {total} {noun}, {per_s:.3g} {noun}/s, {left} left"


def hours_minutes_seconds(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def gib(num_bytes: float) -> str:
    """In GiB, or MiB below one GiB."""
    return f"{num_bytes / 2**30:.2f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.1f} MiB"
