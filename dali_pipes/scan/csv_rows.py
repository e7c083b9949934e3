"""Rows of a CSV that may be damaged."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator


def csv_rows(lines: Iterable[str]) -> Iterator[list[str] | None]:
    """The rows of a CSV; None for one with too long a cell, or, in Python 3.10, with a NUL."""
    reader = csv.reader(lines)
    while True:
        try:
            yield from reader
            return
        except csv.Error:
            yield None
