"""Read and rewrite lists with a header: path,label[,group], and Kinetics' CSVs."""

from __future__ import annotations

import csv
import difflib
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from dali_pipes.annotations.listed_video import LABEL_SEPARATOR, ListedVideo, ParsedList
from dali_pipes.annotations.video_suffixes import VIDEO_SUFFIXES

_DELIMITERS = (",", ";", "\t")
_READ = ("path", "label", "group")
_KINETICS = {"label", "youtube_id", "time_start", "time_end"}
_IMPORT = "reskd prepare import kinetics400 --annotations CSV --videos ROOT --out LISTS"


class CsvText:
    """The text of a CSV with a header.

    Attributes:
        delimiter: comma, semicolon or tab.
        header: names of the columns, as written.
        names: the same in lower case.
    """

    def __init__(self, source: Path, text: str, delimiter: str, header: Sequence[str]) -> None:
        self.source, self.text, self.delimiter, self.header = source, text, delimiter, list(header)
        self.names = [name.strip().lower() for name in header]

    @staticmethod
    def of(source: Path, text: str) -> CsvText | None:
        """Find the header; None if the first line is none, so the list has none.

        Raises:
            ValueError: a .csv file whose first line is neither a header with path and label nor a video.
        """
        first = next((line for line in io.StringIO(text) if line.strip()), "")
        for delimiter in _DELIMITERS:
            try:
                header = next(csv.reader([first.strip("\r\n")], delimiter=delimiter, skipinitialspace=True), [])
            except csv.Error as error:
                raise ValueError(
                    f"{source}, line 1: expected a list with one video a line, found {len(first):,} characters "
                    f"({error}); check quotes and line ends."
                ) from error
            names = {name.strip().lower() for name in header}
            if {"path", "label"} <= names or names >= _KINETICS or (names & {"path"} and len(header) > 1):
                return CsvText(source, text, delimiter, header)
        if source.suffix.lower() != ".csv" or not first or _is_video_line(first):
            return None
        found = [name.strip() for name in first.replace(";", ",").split(",")]
        raise ValueError(f"{source}: expected a first line with the columns path,label[,group], found {found}.")

    @property
    def is_kinetics(self) -> bool:
        return "path" not in self.names and set(self.names) >= _KINETICS

    def column(self, name: str) -> int | None:
        return self.names.index(name) if name in self.names else None

    def check_header(self) -> None:
        """Raises ValueError for columns that are missing or named twice."""
        twice = [name for name, count in Counter(filter(None, self.names)).items() if count > 1]
        if twice:
            raise ValueError(f"{self.source}: expected each column once, found {twice[0]!r} twice in the first line.")
        if not self.is_kinetics and not {"path", "label"} <= set(self.names):
            raise ValueError(
                f"{self.source}: expected a first line with the columns path,label[,group], found {self.header}."
            )

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Line number and cells of each row below the header, as many as the header has.

        Raises:
            ValueError: a row of more cells than the header, or quotes that do not match; names the line.
        """
        reader = csv.reader(
            io.StringIO(self.text, newline=""), delimiter=self.delimiter, skipinitialspace=True, strict=True
        )
        width, end, seen_header = len(self.header), 0, False
        try:
            for cells in reader:
                start, end = end + 1, reader.line_num
                if not cells or (len(cells) == 1 and not cells[0].strip()):
                    continue
                if not seen_header:
                    seen_header = True
                    continue
                if len(cells) != width:
                    if any(cell.strip() for cell in cells[width:]):
                        raise ValueError(
                            f"{self.source}, line {start}: expected {width} cells as in the first line, found "
                            f"{len(cells)}: {cells}; quote a path or label that holds {self.delimiter!r}."
                        )
                    cells = [*cells, *[""] * width][:width]
                if end != start:
                    self._refuse_line_breaks(start, cells)
                yield start, cells
        except csv.Error as error:
            raise ValueError(
                f"{self.source}, line {end + 1}: expected quotes in pairs around whole cells, found: {error}."
            ) from error

    def _refuse_line_breaks(self, line: int, cells: Sequence[str]) -> None:
        for name in ("path", "label", "group", "youtube_id"):
            column = self.column(name)
            if column is not None and any(mark in cells[column] for mark in "\r\n"):
                raise ValueError(
                    f"{self.source}, line {line}: expected a {name} on one line, found a line break within quotes: "
                    f"{cells[column]!r}."
                )


def _is_video_line(line: str) -> bool:
    """Whether the first line of a file without a header names a video: by a suffix, a folder, or numbers behind it."""
    first = line.strip().strip('"')
    parts = first.replace(",", " ").replace(";", " ").split()
    return (
        any(PurePosixPath(part.strip('"')).suffix.lower() in VIDEO_SUFFIXES for part in parts)
        or "/" in parts[0]
        or (len(parts) > 1 and parts[-1].isdigit())
    )


def read_csv(text: CsvText) -> ParsedList:
    """Read path, label and, if there is one, group.

    Raises:
        ValueError: columns that are missing or named twice, or an invalid row; names file and line.
    """
    text.check_header()
    unread = [name for name in text.names if name and name not in _READ]
    remarks = [f"{text.source}: columns that are not read: {', '.join(unread)}{_near(unread)}"] if unread else []
    path_at, label_at, group_at = text.column("path"), text.column("label"), text.column("group")
    assert path_at is not None and label_at is not None
    videos, lines = [], []
    for line, cells in text.rows():
        path, label = cells[path_at].strip(), cells[label_at].strip()
        if not path or not label:
            raise ValueError(f"{text.source}, line {line}: expected a path and a label, found {cells}.")
        labels: tuple[str, ...] = (label,)
        if LABEL_SEPARATOR in label:
            labels = tuple(one.strip() for one in label.split(LABEL_SEPARATOR))
            if not all(labels) or len(set(labels)) < len(labels):
                raise ValueError(
                    f"{text.source}, line {line}: expected labels joined with {LABEL_SEPARATOR!r}, each once and none "
                    f"empty, found {label!r}."
                )
        group = None if group_at is None else cells[group_at].strip() or None
        videos.append(ListedVideo(path, labels, group))
        lines.append(line)
    return ParsedList(videos, lines, "csv", tuple(remarks))


def _near(unread: Sequence[str]) -> str:
    """A hint if a column may be meant for the group, without which parts of one scene may stand in several splits."""
    near = difflib.get_close_matches("group", unread, n=1, cutoff=0.6)
    return f"; is {near[0]!r} the column group?" if near else ""


def read_kinetics(text: CsvText, paths: Sequence[str]) -> ParsedList:
    """Read Kinetics' label,youtube_id,time_start,time_end; a video is named <id>_<start>_<end> or <id>.

    Args:
        paths: the video files under the root.

    Raises:
        ValueError: an invalid row, or a row without a video file, or with two; names file and line.
    """
    text.check_header()
    by_stem: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        by_stem[PurePosixPath(path).stem].append(path)
    videos, lines, missing = [], [], []
    columns = [text.names.index(name) for name in ("label", "youtube_id", "time_start", "time_end")]
    for line, cells in text.rows():
        label, name, start, end = (cells[column].strip() for column in columns)
        stem = f"{name}_{_seconds(text.source, line, start):06d}_{_seconds(text.source, line, end):06d}"
        found = by_stem.get(stem) or by_stem.get(name) or []
        if len(found) > 1:
            raise ValueError(f"{text.source}, line {line}: expected one video {stem}, found {found[0]} and {found[1]}.")
        if not label or not name:
            raise ValueError(f"{text.source}, line {line}: expected a label and a youtube_id, found {cells}.")
        if found:
            videos.append(ListedVideo(found[0], (label,), None, True))
            lines.append(line)
        else:
            missing.append((line, stem))
    if missing:
        line, stem = missing[0]
        raise ValueError(
            f"{text.source}, line {line}: expected a video {stem} for each of {len(videos) + len(missing)} rows of "
            f"Kinetics' list, found none for {len(missing)}; write lists of the videos that are there: {_IMPORT}."
        )
    return ParsedList(videos, lines, "kinetics", (f"{text.source}: read as Kinetics' list, videos by their names",))


def _seconds(source: Path, line: int, cell: str) -> int:
    try:
        return int(float(cell))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{source}, line {line}: expected a time in seconds, found {cell!r}.") from error


def rewrite_csv(text: CsvText, new_path: Callable[[str], str | None]) -> str:
    """The CSV with new paths; a row whose new path is None is left out."""
    column = text.column("path")
    assert column is not None
    written = io.StringIO()
    writer = csv.writer(written, delimiter=text.delimiter, lineterminator="\n")
    writer.writerow(text.header)
    for _, cells in text.rows():
        path = new_path(cells[column].strip())
        if path is not None:
            writer.writerow([*cells[:column], path, *cells[column + 1 :]])
    return written.getvalue()
