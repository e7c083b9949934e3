"""Lists for a data root whose files carry other names: each line as it was, but for the path."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

from dali_pipes.lists import read_list


def rewrite_list(root: Path, annotation: Path, new_path: Callable[[str], str | None]) -> tuple[str, int]:
    """The text of a list with new paths, and how many lines were left out.

    Args:
        root, annotation: as ``read_list`` takes them.
        new_path: the path to write for a listed one; None leaves the line out.

    Raises:
        ValueError: what ``read_list`` raises.
    """
    listed = [video.path for video in read_list(root, annotation)]
    lines = (root / annotation).read_text(encoding="utf-8-sig").splitlines()
    is_csv = annotation.suffix.lower() == ".csv" or re.match(r"path\s*,", lines[0])
    text = _rewrite_csv(lines, new_path) if is_csv else _rewrite_ucf(lines, new_path)
    return text, sum(new_path(path) is None for path in listed)


def _rewrite_csv(lines: list[str], new_path: Callable[[str], str | None]) -> str:
    reader = csv.reader(lines, skipinitialspace=True)
    header = next(reader)
    column = [name.strip() for name in header].index("path")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for cells in reader:
        path = new_path(cells[column].strip()) if cells else None
        if path is not None:
            writer.writerow([*cells[:column], path, *cells[column + 1 :]])
    return text.getvalue()


def _rewrite_ucf(lines: list[str], new_path: Callable[[str], str | None]) -> str:
    kept = []
    for line in lines:
        match = re.fullmatch(r"(.*?)(\s+\d+)?", line.strip())
        path = new_path(match.group(1)) if match and match.group(1) else None
        if match and path is not None:
            kept.append(f"{path}{match.group(2) or ''}\n")
    return "".join(kept)
