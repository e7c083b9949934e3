"""Read lists without a header: one video a line, with numbers or names behind its path.

Note [Which format a list has]
Formats look alike: "videos/a.mp4 2" may be a path and a class number (mmaction2, PySlowFast), or one of UCF101's lines,
whose folder is the class. So a list is judged as a whole:

    nothing behind the path             ucf: the folder is the class
    one number, the same for a folder   ucf, if each folder has one number and each number one folder
    one number, otherwise               numbers: path and class number
    two or more, path of a video file   numbers: path and several class numbers; refused if all lines have two
    two or more, path of a folder       frames_numbers: number of frames, then class numbers (TSN, rawframes)
    a name                              names: path and class name

Where two readings are possible, the choice is reported, and ``data.list_format`` forces another. A list that fits none
is refused with the line.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple, NoReturn

from dali_pipes.annotations.listed_video import LABEL_SEPARATOR, ListedVideo, ParsedList, is_number, plain_path
from dali_pipes.annotations.video_suffixes import VIDEO_SUFFIXES
from dali_pipes.choices import ListFormat, ListReading

_SUFFIX = "|".join(re.escape(suffix) for suffix in sorted(VIDEO_SUFFIXES, key=len, reverse=True))
# The last suffix of a video that the line ends with, or that a separator follows.
_VIDEO_THEN_CELLS = re.compile(rf"(.+(?:{_SUFFIX}))(?:\s*$|(?=[\s,;]))(.*)", re.IGNORECASE | re.DOTALL)
_NUMBERS_AT_END = re.compile(r"(.*?)((?:[\s,;]+-?\d+)*)\s*", re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"]|"")*)"(?=[\s,;]|$)(.*)', re.DOTALL)
_LIKE_A_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
_OUTLIERS = 0.1  # of the lines of a list of UCF101's kind, to call them errors
_HMDB = re.compile(r".+_test_split\d\.txt", re.IGNORECASE)
_OTHER_SETTING = "data.list_format (--list-format)"


class Line(NamedTuple):
    """A line: ``before + path + after`` is its text, but for doubled quotes in the path."""

    number: int
    path: str
    cells: tuple[str, ...]
    before: str
    after: str

    @property
    def has_suffix(self) -> bool:
        return PurePosixPath(self.path).suffix.lower() in VIDEO_SUFFIXES


def split_line(number: int, text: str) -> Line:
    """Split a line into the path and what stands behind it."""
    text = text.strip()
    # The common case first: no separator but one space.
    path, _, last = text.rpartition(" ")
    if path and is_number(last) and path[-4:].lower() in VIDEO_SUFFIXES and path[0] != '"':
        return Line(number, path, (last,), "", f" {last}")
    quoted = _QUOTED.fullmatch(text)
    if quoted:
        path, rest = quoted.group(1).replace('""', '"'), quoted.group(2)
        return Line(number, path, _cells(rest), '"', f'"{rest}')
    path, tab, rest = text.partition("\t")
    if tab:
        return Line(number, path.rstrip(), _cells(rest), "", f"\t{rest}")
    match = _VIDEO_THEN_CELLS.fullmatch(text) or _NUMBERS_AT_END.fullmatch(text)
    assert match is not None
    path, rest = match.groups()
    return Line(number, path, _cells(rest), "", rest)


def _cells(rest: str) -> tuple[str, ...]:
    """What stands behind a path: numbers by any separators, or names by tab, semicolon or comma."""
    rest = rest.strip().strip(",;").strip()
    if not rest:
        return ()
    parts = re.split(r"[\s,;]+", rest)
    if all(re.fullmatch(r"-?\d+", part) for part in parts):
        return tuple(parts)
    names = re.findall(r'\s*("(?:[^"]|"")*"|[^\t;,]+)\s*(?:[\t;,]|$)', rest)
    return tuple(
        name.strip()[1:-1].replace('""', '"') if name.strip().startswith('"') else name.strip() for name in names
    )


def lines_of(texts: Sequence[str]) -> Iterator[Line]:
    """Split the lines that are neither empty nor comments."""
    for number, text in enumerate(texts, start=1):
        if text and not text.isspace() and not is_comment(text):
            yield split_line(number, text)


def is_comment(text: str) -> bool:
    return text.lstrip().startswith("#")


def parse_lines(
    source: Path, texts: Sequence[str], list_format: ListFormat, prefer: ListReading = "auto"
) -> ParsedList:
    """Read a list without a header. See Note [Which format a list has].

    Args:
        source: for messages.
        list_format: how to read it; "auto" judges by the lines.
        prefer: the reading of another list of the data set, taken if it is possible here.

    Raises:
        ValueError: a line of unknown form, or a list that may be read in two ways; names file and line.
    """
    lines = list(lines_of(texts))
    _check_lines(source, lines)
    reading, remarks, numbers = _choose(source, lines, list_format, prefer)
    num_comments = sum(map(is_comment, texts)) if any(text.startswith("#") for text in texts) else 0
    if num_comments:
        remarks = (*remarks, f"{source}: {num_comments} lines that start with # are comments")
    videos = [_video(source, line, reading) for line in lines]
    return ParsedList(videos, [line.number for line in lines], reading, remarks, numbers)


def _check_lines(source: Path, lines: Sequence[Line]) -> None:
    for line in lines:
        if not line.path:
            raise ValueError(f"{source}, line {line.number}: expected a path, found none.")
        if line.path[0] == '"' and not line.before:
            raise ValueError(f"{source}, line {line.number}: expected a closing quote, found none in {line.path}.")
    wrong = {cell for cells in {line.cells for line in lines} for cell in cells if _is_no_label(cell)}
    if wrong:
        line = next(line for line in lines if wrong.intersection(line.cells))
        raise ValueError(
            f"{source}, line {line.number}: expected class numbers from 0 on, found {', '.join(line.cells)} for "
            f"{line.path}."
        )


def _is_no_label(cell: str) -> bool:
    return not is_number(cell) and bool(_LIKE_A_NUMBER.fullmatch(cell))


def _choose(
    source: Path, lines: Sequence[Line], list_format: ListFormat, prefer: ListReading
) -> tuple[ListReading, tuple[str, ...], dict[str, int]]:
    """The reading, remarks about it, and the numbers of UCF101's folders."""
    distinct = {line.cells for line in lines}
    counts = Counter(map(len, distinct))
    has_names = any(not is_number(cells[0]) for cells in distinct if cells)
    if list_format != "auto":
        return list_format, (), {}
    if not lines or set(counts) == {0}:
        return "ucf", (), {}
    _refuse_ragged(source, lines)
    if has_names:
        mixed = any(is_number(cells[0]) for cells in distinct)
        note = "; some of the names are numbers, so check that the list is one" if mixed else ""
        return "names", (f"{source}: read as path and class name{note}",), {}
    if set(counts) == {1}:
        return _ucf_or_numbers(source, lines, prefer)
    return _several_numbers(source, lines, counts, prefer)


def _form(cells: Sequence[str]) -> str:
    if not cells:
        return "nothing"
    if all(map(is_number, cells)):
        return "a number" if len(cells) == 1 else "numbers"
    return "a name" if len(cells) == 1 else f"{len(cells)} cells"


def _refuse_ragged(source: Path, lines: Sequence[Line]) -> None:
    """Refuse a list whose lines are of several forms; names the first line of the rarer form."""
    form_of = {cells: _form(cells) for cells in {line.cells for line in lines}}
    found = set(form_of.values())
    if found <= {"a name", "a number"} or found <= {"a number", "numbers"}:
        return
    forms = Counter(form_of[line.cells] for line in lines)
    usual = forms.most_common(1)[0][0]
    odd = next(line for line in lines if form_of[line.cells] != usual or usual.endswith("cells"))
    hint = "; or give a CSV with the columns path,label[,group]"
    expected = "a class number or name" if usual.endswith("cells") else usual
    raise ValueError(
        f"{source}, line {odd.number}: expected {expected} behind the path as in the other lines, found "
        f"{form_of[odd.cells]}: {odd.path}{odd.after}{hint}."
    )


def _folder_of(path: str) -> str:
    """Name of the folder that a path lies in; empty if there is none."""
    return _last_part(path.rpartition("/")[0])


@lru_cache(maxsize=4096)
def _last_part(folder: str) -> str:
    name = plain_path(f"{folder}/x").rpartition("/")[0].rpartition("/")[2]
    return "" if name in (".", "..") else name


def _ucf_or_numbers(
    source: Path, lines: Sequence[Line], prefer: ListReading
) -> tuple[ListReading, tuple[str, ...], dict[str, int]]:
    """Decide for lists with one number a line; see Note [Which format a list has]."""
    if _HMDB.fullmatch(source.name) and all(int(line.cells[0]) < 3 and "/" not in line.path for line in lines):
        raise ValueError(
            f"{source}, line 1: expected a list of videos with their classes, found one of HMDB51's split files, whose "
            "number is the split (1 train, 2 test) and whose name is the class; write CSVs with path,label from them."
        )
    of_folder: dict[str, Counter[str]] = defaultdict(Counter)
    pairs = Counter((_folder_of(line.path), line.cells[0]) for line in lines)
    for (folder, number), count in pairs.items():
        of_folder[folder][number.lstrip("0") or "0"] += count
    main = {folder: found.most_common(1)[0][0] for folder, found in of_folder.items()}
    is_injective = "" not in main and len(set(main.values())) == len(main)
    num_others = sum(found.total() - found[main[folder]] for folder, found in of_folder.items())
    if is_injective and not num_others and prefer != "numbers":
        remark = f"{source}: read as UCF101's lists, the folder as the class; {_OTHER_SETTING} numbers takes the number"
        return "ucf", (remark,), {folder: int(number[:9]) for folder, number in main.items()}
    if is_injective and len(main) > 1 and 0 < num_others <= _OUTLIERS * len(lines) and prefer != "numbers":
        odd = next(line for line in lines if (line.cells[0].lstrip("0") or "0") != main[_folder_of(line.path)])
        folder = _folder_of(odd.path)
        raise ValueError(
            f"{source}, line {odd.number}: expected the number {main[folder]} for the folder {folder} as in the other "
            f"lines, found {odd.cells[0]}; mend it, or set {_OTHER_SETTING} to ucf (folder) or numbers (number)."
        )
    why = "" if prefer == "numbers" or "" in main else ", as folders and numbers are not one to one"
    other = "" if "" in main else f"; {_OTHER_SETTING} ucf takes the folder"
    return "numbers", (f"{source}: read as path and class number{why}{other}",), {}


def _several_numbers(
    source: Path, lines: Sequence[Line], counts: Counter[int], prefer: ListReading
) -> tuple[ListReading, tuple[str, ...], dict[str, int]]:
    """Decide for lists with two numbers or more in some lines; see Note [Which format a list has]."""
    if prefer in ("numbers", "frames_numbers"):
        return prefer, (), {}
    files = [line.has_suffix for line in lines]
    least, most = min(counts), max(counts)
    unclear = files[0] == all(files) and least == most == (2 if files[0] else 3)
    if any(files) != all(files) or unclear or (least == 1 and not files[0]):
        odd = lines[0]
        if not unclear:
            odd = next(line for line in lines if line.has_suffix != files[0] or len(line.cells) == 1)
        raise ValueError(
            f"{source}, line {odd.number}: expected a path with class numbers, or with a number of frames and class "
            f"numbers, found a list that may be either: {odd.path}{odd.after}; set {_OTHER_SETTING} to numbers or "
            "frames_numbers."
        )
    if files[0]:
        return "numbers", (f"{source}: read as path and class numbers; a video has up to {most}",), {}
    return "frames_numbers", (f"{source}: read as path, number of frames (not used) and class number",), {}


def _video(source: Path, line: Line, reading: ListReading) -> ListedVideo:
    """Make a video of a line; raises ValueError if the line does not fit the reading."""
    if reading == "ucf":
        folder = _folder_of(line.path)
        if not folder or len(line.cells) > 1 or (line.cells and not is_number(line.cells[0])):
            _refuse(source, line, "<Class>/<video> [number] as in UCF101's lists")
        return ListedVideo(line.path, (folder,), None, True)
    if reading == "names":
        labels = tuple(label.strip() for label in line.cells[0].split(LABEL_SEPARATOR)) if line.cells else ()
        if len(line.cells) != 1 or not all(labels) or len(set(labels)) < len(labels):
            _refuse(source, line, f"a path and a class name, or several joined with {LABEL_SEPARATOR!r}, each once")
        return ListedVideo(line.path, labels, None, True)
    labels = line.cells[1:] if reading == "frames_numbers" else line.cells
    if not labels or not all(map(is_number, line.cells)) or (len(labels) > 1 and len(set(labels)) < len(labels)):
        before = "a path, its number of frames" if reading == "frames_numbers" else "a path"
        _refuse(source, line, f"{before} and class numbers, each once")
    return ListedVideo(line.path, labels)


def _refuse(source: Path, line: Line, expected: str) -> NoReturn:
    raise ValueError(
        f"{source}, line {line.number}: expected {expected}, found {line.before}{line.path}{line.after}; or give a CSV "
        "with the columns path,label."
    )
