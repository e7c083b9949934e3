"""The bars of ProgressDisplay: one line for each task, whatever the width of the terminal.

Count, time and rate are whole on a terminal of 60 columns, and in nearly any narrower one. The text at the end of the
line is cut first, then the bar, then the name.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress, Task
    from rich.table import Table

_NAME_WIDTH, _BAR_WIDTH, _LEAST_BAR, _WHOLE_BAR = 14, 8, 4, 40


def start_bars(stream: TextIO) -> Progress:
    """Bars on a terminal. A task has the fields ``pace`` (time and rate) and ``more``."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(file=stream)

    class Bars(Progress):
        def get_renderables(self) -> Iterable[RenderableType]:
            yield table_of(self.tasks, console)

    # Other output to the terminal goes above the bars; output to a pipe or a file is not changed.
    bars = Bars(
        console=console,
        auto_refresh=False,
        redirect_stdout=sys.stdout.isatty(),
        redirect_stderr=sys.stderr.isatty(),
    )
    bars.start()
    return bars


class Widths(NamedTuple):
    """Columns of a line's parts, which have a space between them; a part of width 0 is left out."""

    name: int
    bar: int
    done: int
    pace: int
    more: int


def share_out(width: int, wanted: Widths) -> Widths:
    """Widths that fill at most ``width`` columns. ``wanted`` holds those of the whole texts; of its bar, the most."""
    left = width - wanted.done - wanted.pace - 1
    if left < 0:
        return Widths(0, 0, wanted.done, max(0, width - wanted.done - 1), 0)
    name = min(wanted.name, _NAME_WIDTH, max(left - 1, 0))
    left -= name + 1 if name else 0
    bar = min(wanted.bar, _BAR_WIDTH, max(left - 1, 0))
    bar = bar if bar >= _LEAST_BAR else 0
    left -= bar + 1 if bar else 0
    # A long name gets at most half of what the text at the end could have.
    longer = min(wanted.name - name, max(left // 2 if wanted.more else left, 0)) if name else 0
    left -= longer
    more = min(wanted.more, max(left - 1, 0))
    left -= more + 1 if more else 0
    return Widths(
        name + longer, bar + min(wanted.bar - bar, max(left, 0)) if bar else 0, wanted.done, wanted.pace, more
    )


def table_of(tasks: Sequence[Task], console: Console) -> Table:
    """A line for each task, as wide as the console."""
    from rich.cells import cell_len
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    texts = [
        (task.description, f"{int(task.completed)}/{int(task.total or 0)}", task.fields["pace"], task.fields["more"])
        for task in tasks
    ]
    name, done, pace, more = (max((cell_len(one[part]) for one in texts), default=0) for part in range(4))
    widths = share_out(console.width, Widths(name, _WHOLE_BAR, done, pace, more))
    table = Table.grid(padding=(0, 1, 0, 0), pad_edge=False)
    for part, width in zip(Widths._fields, widths, strict=True):
        if width:
            justify: Literal["left", "right"] = "right" if part == "done" else "left"
            table.add_column(width=width, no_wrap=True, overflow="ellipsis", justify=justify)
    for task, one in zip(tasks, texts, strict=True):
        bar = ProgressBar(total=task.total, completed=task.completed, width=widths.bar or 1)
        styles = ("", "progress.download", "progress.remaining", "")
        cells: list[RenderableType] = [Text(text, style) for text, style in zip(one, styles, strict=True)]
        cells.insert(1, bar)
        table.add_row(*(cell for cell, width in zip(cells, widths, strict=True) if width))
    return table
