"""Read annotation lists.

There are three kinds: a CSV with the columns path,label[,group], where "|" joins the labels of a video; UCF101's
lists (``Class/v_x.avi 3``, test lists without the number); and one folder per class. Nothing here opens a video.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dali_pipes.file_names import printable

LABEL_SEPARATOR = "|"
VIDEO_SUFFIXES = frozenset(
    (".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv")
)


@dataclass(frozen=True, slots=True)
class ListedVideo:
    """A line of a list. ``labels`` are names or numbers as written; ``group`` None: the video is its own group."""

    path: str
    labels: tuple[str, ...]
    group: str | None = None


@dataclass(frozen=True, slots=True)
class LabeledVideo:
    """A listed video with its class numbers, in the list's order, and the name of its group."""

    path: str
    labels: tuple[int, ...]
    group: str

    @property
    def label(self) -> int:
        """The first label, which counts when the list is split by group."""
        return self.labels[0]


def read_list(root: Path, annotation: Path | str) -> list[ListedVideo]:
    """Read a list under ``root``, or its class folders if ``annotation`` is "folders".

    Raises:
        ValueError: a missing or empty list, a line of unknown form, or a path listed twice.
    """
    source = root if annotation == "folders" else root / annotation
    if annotation == "folders":
        listed = _read_folders(root)
    elif not source.is_file():
        raise ValueError(f"expected a list at {source}, found no file; check data.root and the name of the list.")
    else:
        lines = _lines(source)
        listed = _read_csv(source, lines) if _is_csv(source, lines) else _read_ucf(source, lines)
        _check_labels_are_text(source, listed)
    if not listed:
        raise ValueError(f"{source}: expected at least one video, found none.")
    seen: set[str] = set()
    for video in listed:
        if video.path in seen:
            raise ValueError(f"{source}: {video.path} is listed twice; a clip must not count twice.")
        seen.add(video.path)
    return listed


def _lines(source: Path) -> list[str]:
    """Lines of a list. File names in it need not be UTF-8; see ``dali_pipes.file_names``."""
    return source.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()


def _is_csv(source: Path, lines: Sequence[str]) -> bool:
    """Whether the list is a CSV; otherwise it is one of UCF101's lists."""
    return source.suffix.lower() == ".csv" or bool(lines and re.match(r"path\s*,", lines[0]))


def _check_labels_are_text(source: Path, listed: Sequence[ListedVideo]) -> None:
    for label in dict.fromkeys(label for video in listed for label in video.labels):
        if printable(label) != label:
            raise ValueError(f"{source}: expected labels in UTF-8, found {printable(label)}; save the list as UTF-8.")


def _read_csv(source: Path, lines: Sequence[str]) -> list[ListedVideo]:
    reader = csv.DictReader(lines, skipinitialspace=True)
    names = [name.strip() for name in reader.fieldnames or []]
    reader.fieldnames = names
    if not {"path", "label"} <= set(names):
        raise ValueError(f"{source}: expected a first line with the columns path,label[,group], found {names}.")
    listed = []
    for row in reader:
        if not row["path"] or not row["label"]:
            raise ValueError(f"{source}, line {reader.line_num}: expected a path and a label, found {row}.")
        labels = tuple(label.strip() for label in row["label"].split(LABEL_SEPARATOR))
        if not all(labels) or len(set(labels)) < len(labels):
            raise ValueError(
                f"{source}, line {reader.line_num}: expected labels joined with {LABEL_SEPARATOR!r}, each once "
                f"and none empty, found {row['label']!r}."
            )
        listed.append(ListedVideo(row["path"].strip(), labels, (row.get("group") or "").strip() or None))
    return listed


def _read_ucf(source: Path, lines: Sequence[str]) -> list[ListedVideo]:
    listed = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        path = re.sub(r"\s+\d+$", "", line.strip())
        folder = PurePosixPath(path).parent.name
        if not folder:
            raise ValueError(
                f"{source}, line {number}: expected <Class>/<video> [number] as in UCF101's lists, found {line!r}; "
                "or give a CSV with the columns path,label."
            )
        listed.append(ListedVideo(path, (folder,)))
    return listed


def _read_folders(root: Path) -> list[ListedVideo]:
    if not root.is_dir():
        raise ValueError(f"data.root: expected a folder with class folders, found nothing at {root}.")
    return [
        ListedVideo(path.relative_to(root).as_posix(), (folder.name,))
        for folder in sorted(root.iterdir())
        if folder.is_dir()
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()
    ]


def videos_under(root: Path) -> list[str]:
    """Paths of all video files below ``root``, relative to it and sorted.

    Raises:
        ValueError: ``root`` is not a folder.
    """
    if not root.is_dir():
        raise ValueError(f"expected a folder with videos, found none at {root}.")
    return sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()
    )


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read class names in the order of their lines; "1 Name" lines (UCF101's classInd.txt) must be numbered from 1.

    Raises:
        ValueError: no such file, no names, a repeated name, or numbers out of order.
    """
    if not path.is_file():
        raise ValueError(f"data.classes: expected a file with class names, found none at {path}.")
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    numbered = [re.fullmatch(r"(\d+)\s+(\S.*)", line) for line in lines]
    names = lines
    if lines and all(numbered):
        numbers = [int(match.group(1)) for match in numbered if match]
        if numbers != list(range(1, len(lines) + 1)):
            raise ValueError(f"{path}: expected classes numbered 1 to {len(lines)} in order, found {numbers[:5]}...")
        names = [match.group(2) for match in numbered if match]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        raise ValueError(
            f"{path}: expected class names, each once, found {f'{twice[0]!r} twice' if twice else 'none'}."
        )
    return tuple(names)


def class_names_of(listed: Sequence[ListedVideo]) -> tuple[str, ...]:
    """Sorted names of the labels; if all labels are numbers, the numbers from 0 to the largest."""
    labels = {label for video in listed for label in video.labels}
    if all(label.isdigit() for label in labels):
        return tuple(str(number) for number in range(max(map(int, labels)) + 1))
    return tuple(sorted(labels))


def label_videos(
    listed: Sequence[ListedVideo], class_names: Sequence[str], *, group_pattern: str | None, source: str
) -> list[LabeledVideo]:
    """Assign class numbers and groups: the group is the pattern's first group, else the CSV's column, else the video.

    Raises:
        ValueError: a label that is not a class, or a path that the pattern does not match.
    """
    number_of = {name: number for number, name in enumerate(class_names)}
    pattern = None if group_pattern is None else re.compile(group_pattern)
    if pattern is not None and pattern.groups < 1:
        raise ValueError(
            f"data.group_pattern: expected a pair of parentheses around the group, found {group_pattern!r}."
        )
    labeled = []
    for video in listed:
        numbers = []
        for label in video.labels:
            number = number_of.get(label)
            if number is None and label.isdigit() and int(label) < len(class_names):
                number = int(label)
            if number is None:
                raise ValueError(f"{source}: {video.path} has the label {label!r}, {_no_class(label, class_names)}")
            numbers.append(number)
        match = pattern.search(video.path) if pattern else None
        if pattern and not match:
            raise ValueError(f"{source}: data.group_pattern {group_pattern!r} does not match {video.path}.")
        group = match.group(1) if match else video.group or video.path
        labeled.append(LabeledVideo(video.path, tuple(dict.fromkeys(numbers)), group))
    return labeled


def _no_class(label: str, class_names: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(label, class_names, n=1, cutoff=0.0)
    return f"which is none of the {len(class_names)} classes; the nearest is {nearest[0] if nearest else None!r}."


def rewrite_list(root: Path, annotation: Path, new_path: Callable[[str], str | None]) -> tuple[str, int]:
    """Rewrite a list with new paths; returns its text and the number of lines left out.

    Args:
        root, annotation: as in ``read_list``.
        new_path: maps a listed path to the path to write; None leaves the line out.

    Raises:
        ValueError: as ``read_list``.
    """
    listed = [video.path for video in read_list(root, annotation)]
    lines = _lines(root / annotation)
    text = _rewrite_csv(lines, new_path) if _is_csv(annotation, lines) else _rewrite_ucf(lines, new_path)
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
