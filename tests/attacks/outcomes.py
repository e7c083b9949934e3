"""Counts what came of each try of an attack, and prints the line of totals."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

Kind = Literal["refused in a sentence", "worked", "traceback", "hang", "silent change"]
KINDS: tuple[Kind, ...] = ("refused in a sentence", "worked", "traceback", "hang", "silent change")
_FAILURES = KINDS[2:]


class Outcome(NamedTuple):
    """``about``: what was tried and what came of it."""

    kind: Kind
    about: str


class HangError(BaseException):
    """A try took more processor time than it may."""


@contextmanager
def deadline(cpu_seconds: float) -> Iterator[None]:
    """Raise HangError inside after this much processor time, which does not depend on what else the machine does."""

    def stop(*_: Any) -> None:
        raise HangError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def report(outcomes: list[Outcome]) -> tuple[str, int]:
    """The line of totals and a line for each failure; 1 if there is one, else 0."""
    counts = Counter(outcome.kind for outcome in outcomes)
    totals = ", ".join(f"{kind} {counts[kind]}" for kind in KINDS)
    failures = [f"{outcome.kind}: {outcome.about}" for outcome in outcomes if outcome.kind in _FAILURES]
    return "\n".join([f"tried {len(outcomes)}: {totals}", *failures]), 1 if failures else 0
