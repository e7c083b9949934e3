"""Tables as plain values, for a page and for Markdown alike."""

from __future__ import annotations

from typing import NamedTuple

from reskd.pages.odd_names import in_markdown


class Cell(NamedTuple):
    """Text, and what kind of text it is.

    Kinds are text, number, whole (a text on one line), and marks: better, worse, undecided, failed, diverged.
    """

    text: str
    kind: str = "text"


class Table(NamedTuple):
    """Rows under titles; the first cell of a row says what the row is of."""

    caption: str
    titles: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def markdown_table(table: Table) -> str:
    """Names are text, never markup."""
    lines = [f"| {' | '.join(table.titles)} |", "|---" * len(table.titles) + "|"]
    lines += [f"| {' | '.join(in_markdown(cell.text) for cell in row)} |" for row in table.rows]
    return "\n".join(lines)
