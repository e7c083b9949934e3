"""The common output of all readers of published data sets: videos by name, with split and labels."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from dali_pipes.annotations.published.file_kinds import describe_file
from dali_pipes.json_files import parse_json

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True)
class AnnotatedVideo:
    """One line of the published annotations.

    Args:
        names: possible names of its file without suffix, the most specific first; may begin with folders.
        labels: class names, in the order of the annotation; empty if they are not published.
        group: videos of one group stay in one split; None: the video is its own group.
    """

    names: tuple[str, ...]
    split: Split
    labels: tuple[str, ...]
    group: str | None = None


@dataclass(frozen=True)
class Annotations:
    """All videos of a data set, class names in the data set's order, and remarks on irregularities."""

    class_names: tuple[str, ...]
    videos: tuple[AnnotatedVideo, ...]
    remarks: tuple[str, ...] = ()


def read_text(path: Path) -> str:
    """Read the text of an annotation file.

    Raises:
        ValueError: the file is missing, empty or not text.
    """
    if not path.is_file():
        raise ValueError(f"expected an annotation file at {path}, found {'a folder' if path.is_dir() else 'nothing'}.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = ""
    if not text.strip():
        raise refusal(path, "text")
    return text


def read_json(path: Path, expected: str) -> Any:
    """Read JSON; raises ValueError, which describes the file, if it is not JSON."""
    text = read_text(path)
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        raise refusal(path, expected, f" ({error.msg} in line {error.lineno})") from None
    except ValueError as error:
        raise refusal(path, expected, f" ({error})") from None


def read_csv(path: Path, columns: Collection[str], expected: str) -> list[dict[str, str]]:
    """Read rows by column name, "" for an empty or absent cell.

    Raises:
        ValueError: one of ``columns`` is missing, or there are no rows.
    """
    reader = csv.DictReader(read_text(path).splitlines(), skipinitialspace=True, restval="")
    found = [name.strip() for name in reader.fieldnames or []]
    missing = [name for name in columns if name not in found]
    if missing:
        raise refusal(path, f"{expected}, with the columns {', '.join(columns)} (missing: {', '.join(missing)})")
    reader.fieldnames = found
    rows = [{name: (row[name] or "").strip() for name in found} for row in reader]
    if not rows:
        raise ValueError(f"{path}: expected at least one video, found only the line of column names.")
    return rows


def read_lines(path: Path) -> list[str]:
    """Read the non-blank lines, stripped."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def split_in_name(path: Path) -> Split:
    """The split in a file's name.

    Raises:
        ValueError: the name has none of "train", "val" and "test", or several.
    """
    named = [split for split in SPLITS if split in path.stem.lower()]
    if len(named) != 1:
        raise ValueError(f"{path}: expected train, val or test in the file's name, found {named or 'none of them'}.")
    return named[0]


def refusal(path: Path, expected: str, detail: str = "") -> ValueError:
    """Make the error for a file of another kind."""
    return ValueError(f"{path}: expected {expected}, found {describe_file(path)}{detail}.")
