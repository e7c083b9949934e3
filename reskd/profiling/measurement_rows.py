"""Shared by all benchmarks: the columns that describe a run, CSV files that rows are only appended to, tables."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from reskd.environment import describe_environment

if TYPE_CHECKING:
    import torch


def describe_run(device: torch.device) -> dict[str, object]:
    """The first columns of every row of this run; a commit with ``+`` had uncommitted changes."""
    import torch

    video_info = describe_environment()
    commit = video_info["commit"]
    return {
        "date": date.today().isoformat(),
        "commit": f"{commit['hash'][:10]}{'+' if commit['dirty'] else ''}" if isinstance(commit, dict) else "unknown",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else video_info["cpu"],
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def rounded(columns: Mapping[str, object]) -> dict[str, object]:
    """Round floats to four digits after the point, as the CSV files hold them."""
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in columns.items()}


def append_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Append to a CSV; a new file gets a header.

    Raises:
        ValueError: the CSV has other columns.
    """
    names = list(rows[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    with path.open("a+", newline="", encoding="utf-8") as file:
        file.seek(0)
        found = names if is_new else next(csv.reader(file), [])
        if found != names:
            raise ValueError(f"{path}: expected the columns {names}, found {found}; give the rows another file.")
        writer = csv.DictWriter(file, fieldnames=names)
        if is_new:
            writer.writeheader()
        writer.writerows(rows)


def read_rows(path: Path) -> list[dict[str, str]]:
    """All rows of a CSV as text."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def quantiles(values: Sequence[float]) -> tuple[float, float, float]:
    """20th, 50th and 80th percentile."""
    if len(values) == 1:
        return (values[0],) * 3
    fifths = statistics.quantiles(values, n=5, method="inclusive")
    return fifths[0], statistics.median(values), fifths[3]


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells as text, in right-aligned columns."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
