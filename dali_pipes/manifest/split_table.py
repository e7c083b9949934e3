"""The table of splits, splits.csv: path, label, group and split of every listed video."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence

from dali_pipes.annotations.lists import LABEL_SEPARATOR, LabeledVideo
from dali_pipes.manifest.split_lists import SplitLists

SPLIT_TABLE = "splits.csv"
_HEAD = ("path", "label", "group", "split")


def split_table(lists: SplitLists, videos: Mapping[str, Sequence[LabeledVideo]]) -> bytes:
    """Make the table as CSV in UTF-8; paths that are not UTF-8 are written as their bytes.

    A video without a group of its own has its path as group. The test list's videos are in it if the list was read.

    Args:
        videos: split -> its videos, by name "train", "val" and "test".
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEAD)
    for split in ("train", "val", "test"):
        writer.writerows(_rows(lists.class_names, split, videos.get(split, ())))
    if "test" not in videos:
        writer.writerows(_listed_rows(lists))
    return text.getvalue().encode("utf-8", "surrogateescape")


def groups_of_videos(table: bytes) -> dict[str, str]:
    """Path of a video -> its group, of a table that ``split_table`` made."""
    rows = csv.DictReader(io.StringIO(table.decode("utf-8", "surrogateescape"), newline=""))
    return {row["path"]: row["group"] for row in rows}


def _rows(class_names: Sequence[str], split: str, videos: Iterable[LabeledVideo]) -> Iterator[tuple[str, ...]]:
    for video in videos:
        label = LABEL_SEPARATOR.join(class_names[label] for label in video.labels)
        yield video.path, label, video.group, split


def _listed_rows(lists: SplitLists) -> Iterator[tuple[str, ...]]:
    """Rows of a test list that was read only to be compared; its labels are not checked yet."""
    names = set(lists.class_names)
    for video in lists.test_listed:
        labels = [_class_name(label, names, lists.class_names) for label in video.labels]
        yield video.path, LABEL_SEPARATOR.join(labels), video.group or video.path, "test"


def _class_name(label: str, names: set[str], class_names: Sequence[str]) -> str:
    is_number = label not in names and label.isascii() and label.isdigit() and len(label) < 10
    return class_names[int(label)] if is_number and int(label) < len(class_names) else label
