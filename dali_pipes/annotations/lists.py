"""Read and rewrite annotation lists.

A list is a CSV with the columns path,label[,group], where "|" joins the labels of a video; a list of another tool
(``line_lists`` has the formats); Kinetics' CSV; or one folder per class. Nothing here opens a video.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from dali_pipes.annotations.class_folders import read_class_folders, videos_under
from dali_pipes.annotations.csv_lists import CsvText, read_csv, read_kinetics, rewrite_csv
from dali_pipes.annotations.labels import (
    LabeledVideo,
    check_folder_numbers,
    class_names_of,
    describe_labels,
    label_videos,
    read_class_names,
)
from dali_pipes.annotations.line_lists import is_comment, parse_lines, split_line
from dali_pipes.annotations.list_text import check_utf8, read_text, split_lines
from dali_pipes.annotations.listed_video import LABEL_SEPARATOR, ListedVideo, ParsedList, plain_path
from dali_pipes.annotations.video_suffixes import VIDEO_SUFFIXES
from dali_pipes.choices import ListFormat, ListReading

__all__ = [
    "LABEL_SEPARATOR",
    "VIDEO_SUFFIXES",
    "LabeledVideo",
    "ListedVideo",
    "ParsedList",
    "check_folder_numbers",
    "class_names_of",
    "describe_labels",
    "label_videos",
    "parse_list",
    "plain_path",
    "read_class_names",
    "read_list",
    "rewrite_list",
    "videos_under",
]


def read_list(root: Path, annotation: Path | str, list_format: ListFormat = "auto") -> list[ListedVideo]:
    """Read a list under ``root``, or its class folders if ``annotation`` is "folders".

    Args:
        list_format: the format of the list; "auto" finds it by what the lines hold.

    Raises:
        ValueError: a missing or empty list, a line of unknown form, or a path listed twice; names file and line.
    """
    return parse_list(root, annotation, list_format).videos


def parse_list(
    root: Path, annotation: Path | str, list_format: ListFormat = "auto", prefer: ListReading = "auto"
) -> ParsedList:
    """Like ``read_list``, with line numbers and remarks.

    Args:
        prefer: the reading of the data set's other list; see ``line_lists.parse_lines``.
    """
    source = root if annotation == "folders" else root / annotation
    if annotation == "folders":
        parsed = read_class_folders(root)
    elif not source.is_file():
        hint = " For a folder for each class write folders." if str(annotation).lower() == "folders" else ""
        raise ValueError(f"expected a list at {source}, found no file; check data.root and the name of the list.{hint}")
    else:
        parsed = _parse(root, source, list_format, prefer)
    if not parsed.videos:
        left_out = "".join(f" ({remark})" for remark in parsed.remarks)
        raise ValueError(f"{source}: expected at least one video, found none{left_out}.")
    _check_labels_are_text(source, parsed)
    _check_each_once(source, parsed)
    return parsed


def _parse(root: Path, source: Path, list_format: ListFormat, prefer: ListReading) -> ParsedList:
    text = read_text(source)
    if text.lstrip()[:1] in ("[", "{") and source.suffix.lower() != ".csv":
        raise ValueError(
            f"{source}, line 1: expected a list with one video a line, found JSON; lists of Something-Something and "
            "ActivityNet are read by: reskd prepare import --help."
        )
    table = CsvText.of(source, text) if list_format in ("auto", "csv", "kinetics") else None
    if table is None and list_format in ("csv", "kinetics"):
        raise ValueError(
            f"{source}, line 1: expected a first line that names the columns, as data.list_format={list_format} says, "
            "found none."
        )
    if table is None:
        return parse_lines(source, split_lines(text), list_format, prefer)
    if table.is_kinetics:
        return read_kinetics(table, videos_under(root))
    return read_csv(table)


def _check_labels_are_text(source: Path, parsed: ParsedList) -> None:
    first: dict[str, int] = {}
    for number, video in enumerate(parsed.videos):
        for label in video.labels:
            if label not in first:
                first[label] = number
    for label, number in first.items():
        check_utf8(f"{source}{parsed.place(number)}", label)


def _check_each_once(source: Path, parsed: ParsedList) -> None:
    paths = {video.path for video in parsed.videos}
    if len(paths) == len(parsed.videos) and not any("./" in path or "//" in path for path in paths):
        return
    seen: dict[str, int] = {}
    for number, video in enumerate(parsed.videos):
        other = seen.setdefault(plain_path(video.path), number)
        if other != number:
            first = parsed.videos[other].path
            names = video.path if first == video.path else f"{first} and {video.path} are one path, which"
            also = f" (also{parsed.place(other).replace(',', '')})" if parsed.lines else ""
            raise ValueError(
                f"{source}{parsed.place(number)}: {names} is listed twice{also}; a clip must not count twice."
            )


class RewrittenList(NamedTuple):
    """A list with new paths.

    Args:
        num_left_out: number of its videos without a new path.
        needs_format: the format without which the new text would be read in another way, or refused; "" if there is
            none. The reading of a list depends on all its lines, and some may be left out.
    """

    text: str
    num_left_out: int
    needs_format: ListReading | Literal[""]


def rewrite_list(
    root: Path, annotation: Path, new_path: Callable[[str], str | None], list_format: ListFormat = "auto"
) -> RewrittenList:
    """Rewrite a list with new paths, in its format; Kinetics' as a CSV.

    Args:
        root, annotation, list_format: as in ``read_list``.
        new_path: maps a listed path to the path to write; None leaves the line out.

    Raises:
        ValueError: as ``read_list``.
    """
    parsed = parse_list(root, annotation, list_format)
    wanted = [(path, video.labels) for video in parsed.videos if (path := new_path(video.path)) is not None]
    num_left_out = len(parsed.videos) - len(wanted)
    if parsed.reading == "kinetics":
        return RewrittenList(_as_csv(parsed.videos, new_path), num_left_out, "")
    text = read_text(root / annotation)
    if parsed.reading == "csv":
        table = CsvText.of(root / annotation, text)
        assert table is not None
        return RewrittenList(rewrite_csv(table, new_path), num_left_out, "")
    lines = _rewrite_lines(split_lines(text), new_path)
    is_clear = not wanted or _reads_as(wanted, root / annotation, lines)
    return RewrittenList(lines, num_left_out, "" if is_clear else parsed.reading)


def _reads_as(wanted: Sequence[tuple[str, tuple[str, ...]]], source: Path, text: str) -> bool:
    """Whether a list is read as these paths and labels if no format is given."""
    try:
        found = parse_lines(source, split_lines(text), "auto").videos
    except ValueError:
        return False
    return [(video.path, video.labels) for video in found] == wanted


def _as_csv(videos: Sequence[ListedVideo], new_path: Callable[[str], str | None]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "label"))
    new = (replace(video, path=path) for video in videos if (path := new_path(video.path)) is not None)
    writer.writerows((video.path, LABEL_SEPARATOR.join(video.labels)) for video in new)
    return text.getvalue()


def _rewrite_lines(texts: Sequence[str], new_path: Callable[[str], str | None]) -> str:
    kept = []
    for number, text in enumerate(texts, start=1):
        if is_comment(text):
            kept.append(f"{text}\n")
        elif text.strip():
            line = split_line(number, text)
            path = new_path(line.path)
            if path is not None:
                kept.append(f"{line.before}{path.replace(chr(34), chr(34) * 2) if line.before else path}{line.after}\n")
    return "".join(kept)
