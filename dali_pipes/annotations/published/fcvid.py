"""FCVID: 91,223 videos of 239 classes, several labels per video.

The data set is sent on request, and no copy was available: both forms below are known from code that reads them.
- The release: materials/FCVID_VideoName_TrainTestSplit.txt, lines "name train" or "name test", where a name may have
  folders and a suffix; materials/FCVID_Label.txt, with a line of 239 zeros and ones for each of these lines. Source:
  fcvid.py of github.com/bmezaris/ObjectGraphs. The file of class names is not known: give any list with one name per
  line, otherwise the classes are called 0 to 238.
- AR-Net's fcvid_train_split.txt and fcvid_val_split.txt, lines "path,frames,class[,class...]", and classInd.txt, one
  name per line. Source: ops/dataset.py and ops/dataset_config.py of github.com/mengyuest/AR-Net.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from dali_pipes.annotations.lists import VIDEO_SUFFIXES
from dali_pipes.annotations.published.base import (
    AnnotatedVideo,
    Annotations,
    Split,
    read_lines,
    refusal,
    split_in_name,
)

_MATRIX_LINE = re.compile(r"[01](\.0*)?(\s+[01](\.0*)?)+")
_SPLIT_LINE = re.compile(r"(\S.*?)\s+(train|test)")
_FRAMES_LINE = re.compile(r"([^,]+),\d+((?:,\d+)+)")
_NUMBERED_NAME = re.compile(r"(\d+)[\s,]+(\S.*)")
_EXPECTED = (
    "FCVID: FCVID_VideoName_TrainTestSplit.txt and FCVID_Label.txt, or AR-Net's fcvid_train_split.txt and "
    "fcvid_val_split.txt; and at most one list of class names"
)


def read_fcvid(paths: Sequence[Path]) -> Annotations:
    """Read the videos of either form.

    Raises:
        ValueError: the files make up neither form, their lines do not match, or a class has no name.
    """
    first_line = {path: read_lines(path)[0] for path in paths}
    matrix = [path for path in paths if _MATRIX_LINE.fullmatch(first_line[path])]
    splits = [path for path in paths if _SPLIT_LINE.fullmatch(first_line[path])]
    frames = [path for path in paths if _FRAMES_LINE.fullmatch(first_line[path])]
    names = [path for path in paths if path not in {*matrix, *splits, *frames}]
    of_the_release = (len(matrix), len(splits), len(frames)) == (1, 1, 0)
    if len(names) > 1 or not (of_the_release or (frames and not matrix and not splits)):
        raise refusal((names or list(paths))[0], _EXPECTED)
    class_names = _class_names(names[0]) if names else None
    found = _of_the_release(splits[0], matrix[0]) if of_the_release else _of_ar_net(frames)
    return _with_names(found, class_names)


def _of_the_release(split_file: Path, matrix_file: Path) -> list[tuple[str, Split, list[int]]]:
    names, rows = read_lines(split_file), read_lines(matrix_file)
    if len(names) != len(rows):
        raise ValueError(
            f"{matrix_file}: expected a line of labels for each of the {len(names)} videos of {split_file}, found "
            f"{len(rows)} lines."
        )
    width = len(rows[0].split())
    found: list[tuple[str, Split, list[int]]] = []
    for number, (line, row) in enumerate(zip(names, rows, strict=True), start=1):
        match, cells = _SPLIT_LINE.fullmatch(line), row.split()
        if not match:
            raise ValueError(f"{split_file}, line {number}: expected 'name train' or 'name test', found {line!r}.")
        if len(cells) != width or not _MATRIX_LINE.fullmatch(row):
            raise ValueError(f"{matrix_file}, line {number}: expected {width} zeros and ones, found {row[:60]!r}.")
        labels = [index for index, cell in enumerate(cells) if float(cell)]
        found.append((match[1], "train" if match[2] == "train" else "test", labels))
    return found


def _of_ar_net(paths: Sequence[Path]) -> list[tuple[str, Split, list[int]]]:
    found: list[tuple[str, Split, list[int]]] = []
    for path in paths:
        split = split_in_name(path)
        for number, line in enumerate(read_lines(path), start=1):
            match = _FRAMES_LINE.fullmatch(line)
            if not match:
                raise ValueError(f"{path}, line {number}: expected 'path,frames,class[,class...]', found {line!r}.")
            found.append((match[1], split, list(map(int, match[2][1:].split(",")))))
    return found


def _class_names(path: Path) -> tuple[str, ...]:
    """Read one name per line, or "0,name" lines numbered from 0 or 1."""
    lines = read_lines(path)
    matches = [_NUMBERED_NAME.fullmatch(line) for line in lines]
    numbers = [int(match[1]) for match in matches if match]
    if len(numbers) == len(lines) and numbers == list(range(numbers[0], numbers[0] + len(lines))) and numbers[0] < 2:
        return tuple(match[2] for match in matches if match)
    return tuple(lines)


def _with_names(found: Sequence[tuple[str, Split, list[int]]], class_names: tuple[str, ...] | None) -> Annotations:
    num_classes = max((max(labels) for _, _, labels in found if labels), default=-1) + 1
    names = class_names or tuple(str(number) for number in range(num_classes))
    if num_classes > len(names) or len(set(names)) < len(names):
        raise ValueError(
            f"expected a distinct name for each of at least {num_classes} classes, found {len(names)} names, "
            f"{len(set(names))} of them distinct."
        )
    videos = tuple(
        AnnotatedVideo((_without_suffix(name),), split, tuple(dict.fromkeys(names[label] for label in labels)))
        for name, split, labels in found
    )
    remarks = () if class_names else ("no list of class names was given: the classes are called by their numbers",)
    return Annotations(names, videos, remarks)


def _without_suffix(name: str) -> str:
    path = PurePosixPath(name.replace("\\", "/"))
    return str(path.with_suffix("") if path.suffix.lower() in VIDEO_SUFFIXES else path)
