"""Reports what happened to every tensor of a weight file and of the model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, NamedTuple

Fate = Literal["loaded", "renamed", "inflated", "ignored", "new"]


class TensorFate(NamedTuple):
    """One row of the table.

    Attributes:
        fate: "loaded" under its own name, "renamed", "inflated" from a 2-D network, "ignored" (a tensor of the file
            that was not used), or "new" (a tensor of the model that the file does not fill).
        source: the file's name; None if the file has none.
        target: our name; None if the model has none.
        why: the reason, for inflated, ignored and new tensors.
    """

    fate: Fate
    source: str | None
    target: str | None
    why: str = ""


@dataclass(frozen=True)
class WeightReport:
    """``str()`` gives the line for the log; ``table()`` has a row for every tensor.

    Attributes:
        source: the file or the name of the weights.
        layout: the project whose names the file has.
        network: the file's network, in words.
        rows: every tensor of the file and of the model, once.
        remarks: further warnings for the user.
    """

    source: str
    layout: str
    network: str
    rows: tuple[TensorFate, ...]
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        counts = Counter(row.fate for row in self.rows)
        parts = [f"{count} {fate}" for fate, count in counts.items() if fate in ("loaded", "renamed", "inflated")]
        for fate in ("ignored", "new"):
            reasons = Counter(row.why for row in self.rows if row.fate == fate)
            parts += [f"{count} {fate} ({why})" for why, count in reasons.items()]
        remarks = "".join(f"; {remark}" for remark in self.remarks)
        return f"weights from {self.source} ({self.layout}: {self.network}): {', '.join(parts)}{remarks}"

    def table(self) -> str:
        """Aligned columns: fate, the file's name, our name and the reason."""
        width = max((len(row.source or "-") for row in self.rows), default=0)
        lines = [
            f"{row.fate:8}  {row.source or '-':{width}}  {' - '.join(filter(None, (row.target, row.why)))}".rstrip()
            for row in self.rows
        ]
        return "\n".join([*lines, str(self)])
