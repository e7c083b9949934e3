"""Show the progress of a long job: bars on a terminal, plain lines elsewhere.

    with ProgressDisplay() as display:
        run(job, on_progress=display.counter("files"))

rich is imported with the first bar, so that a job without a terminal never needs it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from dali_pipes.jobs.progress_bars import start_bars

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LINE_EVERY_S = {True: 0.5, False: 60.0}  # on a terminal, in a log
_MESSAGE_EVERY_S = 20.0
_NOTE_EVERY_S = 180.0  # in a log


@dataclass
class _Clock:
    """Start of a task, the number of items already done then, and the time of the next update."""

    start_s: float
    num_done_before: int
    next_s: float

    def left(self, done: int, total: int, now_s: float) -> str:
        elapsed_s, num_done = now_s - self.start_s, done - self.num_done_before
        return hours_minutes_seconds((total - done) * elapsed_s / num_done) if num_done > 0 else "?"


class ProgressDisplay:
    """Shows the progress of one or several tasks. Leave its ``with`` block to get the terminal's cursor back.

    Args:
        stream: stream to write to; default: stderr.
        enabled: False shows nothing, as on all ranks but one.
    """

    def __init__(self, stream: TextIO | None = None, *, enabled: bool = True) -> None:
        self._stream = stream or sys.stderr
        self._enabled = enabled
        self._clocks: dict[str, _Clock] = {}
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._counted: tuple[str, int, int] | None = None  # the last call of ``count``
        self._note, self._next_note_s = "", time.monotonic() + _NOTE_EVERY_S
        self._lock = threading.RLock()

    def __enter__(self) -> ProgressDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop(erase=False)

    def counter(self, noun: str) -> Callable[[int, int], None]:
        """Make a function of (done, total) for a job over many ``noun``, such as "files". Its clock starts now."""
        self._clock(noun, 0)
        return partial(self.count, noun)

    def count(self, noun: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` are done: at most twice a second on a terminal, once a minute elsewhere."""
        with self._lock:
            self._count(noun, done, total)

    def note(self, text: str) -> None:
        """Show what goes on meanwhile: at the end of the bar of ``counter`` on a terminal, every 3 minutes elsewhere.

        It may be called from another thread.
        """
        with self._lock:
            self._note, now_s = text, time.monotonic()
            if not self._enabled:
                return
            if self._stream.isatty():
                noun, done, total = self._counted or ("", 0, 0)
                if done < total:
                    self._draw(noun, done, total, self._pace(noun, done, total), text)
            elif now_s >= self._next_note_s:
                self._next_note_s = now_s + _NOTE_EVERY_S
                print(text, file=self._stream, flush=True)

    def _pace(self, noun: str, done: int, total: int) -> str:
        elapsed_s = time.monotonic() - self._clock(noun, 0).start_s
        return describe_progress(done, total, noun, elapsed_s).partition(", ")[2]

    def _count(self, noun: str, done: int, total: int) -> None:
        self._counted = noun, done, total
        clock, now_s = self._clock(noun, 0), time.monotonic()
        if not self._enabled or (now_s < clock.next_s and done < total):
            return
        is_terminal = self._stream.isatty()
        clock.next_s = now_s + _LINE_EVERY_S[is_terminal]
        line = describe_progress(done, total, noun, now_s - clock.start_s)
        if not is_terminal:
            print(line, file=self._stream, flush=True)
        elif done < total:
            self._draw(noun, done, total, line.partition(", ")[2], self._note)
        else:
            self._finish(noun, line)

    def step(self, name: str, done: int, total: int, numbers: str, *, rate: str = "") -> None:
        """Show the numbers of a finished step; without a terminal every call writes a line.

        Args:
            rate: the speed, which a narrow terminal shows too; of ``numbers`` it shows the start.
        """
        if not self._enabled:
            return
        if not self._stream.isatty():
            line = "  ".join(filter(None, (numbers, rate)))
            print(f"{name} step {done}/{total} {line}", file=self._stream, flush=True)
            return
        left = self._clock(name, done).left(done, total, time.monotonic())
        self._draw(name, done, total, "  ".join(filter(None, (f"{left} left", rate))), numbers)

    def clear(self) -> None:
        """Remove the bars from the terminal before other output; the next call shows them again."""
        self._stop(erase=True)

    def _clock(self, task: str, num_done_before: int) -> _Clock:
        now_s = time.monotonic()
        return self._clocks.setdefault(task, _Clock(now_s, num_done_before, now_s))

    def _draw(self, task: str, done: int, total: int, pace: str, more: str = "") -> None:
        """``pace``: time and rate, always whole; ``more``: cut where the terminal ends."""
        if self._bars is None:
            self._bars = start_bars(self._stream)
        if task not in self._tasks:
            self._tasks[task] = self._bars.add_task(task, total=total, completed=done, pace=pace, more=more)
        self._bars.update(self._tasks[task], completed=done, pace=pace, more=more, refresh=True)

    def _finish(self, task: str, line: str) -> None:
        """Replace the bar by a line."""
        if self._bars is not None and task in self._tasks:
            self._bars.remove_task(self._tasks.pop(task))
        if not self._tasks:
            self.clear()
            print(line, file=self._stream, flush=True)
        elif self._bars is not None:
            self._bars.console.print(line, markup=False, highlight=False)

    def _stop(self, *, erase: bool) -> None:
        if self._bars is not None:
            self._bars.live.transient = erase
            self._bars.stop()
        self._bars, self._tasks = None, {}


def progress_messages(on_message: Callable[[str], None], doing: str, noun: str) -> Callable[[int, int], None]:
    """Make a function of (done, total) that reports progress every 20 seconds; a short job reports nothing.

    Args:
        doing: start of each message, such as "scanning files".
    """
    start_s = said_s = time.monotonic()

    def on_progress(done: int, total: int) -> None:
        nonlocal said_s
        now_s = time.monotonic()
        if now_s - said_s >= _MESSAGE_EVERY_S:
            said_s = now_s
            on_message(f"{doing}: {describe_progress(done, total, noun, now_s - start_s)}")

    return on_progress


def describe_progress(done: int, total: int, noun: str, elapsed_s: float) -> str:
    """Return a line such as "12 of 400 files, 3.1 files/s, 0:02:05 left"."""
    per_s = done / max(elapsed_s, 1e-9)
    left = hours_minutes_seconds((total - done) / per_s) if done else "?"
    return f"{done} of {total} {noun}, {per_s:.3g} {noun}/s, {left} left"


def hours_minutes_seconds(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def gib(num_bytes: float) -> str:
    """Format a size in GiB, or in MiB below one GiB."""
    return f"{num_bytes / 2**30:.2f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.1f} MiB"
