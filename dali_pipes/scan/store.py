"""Store scan results: each run writes a human-readable CSV, and its packet indexes beside it.

Rows are appended as files are done, the indexes first, so a killed scan loses only the files in progress. Every run
writes its own file; scans on several machines may share a folder without locks, and so may several roots with equal
names. Of the rows that fit a file, the latest wins.

Note [What is believed of a table]
The checksums of rows and indexes are in a third file beside them. So a row is as it was written, or is left out and its
video is scanned again; and a video whose index is damaged is decoded whole. Of a table that has lost its checksums,
rows with impossible values are left out.
"""

from __future__ import annotations

import csv
import io
import logging
import os
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TextIO, get_type_hints
from zlib import crc32

import numpy as np

from dali_pipes.packets.packet_index import PACKET, PacketIndex
from dali_pipes.scan.csv_rows import csv_rows
from dali_pipes.video_info import PacketLocation, VideoInfo, columns_of

log = logging.getLogger(__name__)

# Parse a column's cells, by the type of the field.
_PARSERS: Mapping[Any, Callable[[Sequence[str]], Sequence[Any]]] = {
    int: lambda cells: list(map(int, cells)),
    str: lambda cells: cells,
    bool: lambda cells: [cell == "yes" for cell in cells],
}
# Without the first column: the index file is the one beside the CSV.
_INDEX_COLUMNS = tuple(column.name for column in columns_of(PacketLocation).values())[1:]
_NO_INDEX = (-1, -1, 0)
_BLOCK = 100  # rows that are parsed at once; more of them cost more garbage collection than they save


_FACTS = [field.name for field in fields(VideoInfo)]
_INDEX_AT = slice(_FACTS.index("packets"), _FACTS.index("packets") + len(_INDEX_COLUMNS))


def _columns() -> dict[str, Callable[[Sequence[str]], Sequence[Any]]]:
    """Name and parser of each column after the path: VideoInfo's fields in order, the packet index as three numbers."""
    types, names = get_type_hints(VideoInfo), columns_of(VideoInfo)
    parsers: dict[str, Callable[[Sequence[str]], Sequence[Any]]] = {}
    for fact in _FACTS:
        of_index = fact == "packets"
        named = _INDEX_COLUMNS if of_index else (names[fact].name,)
        parsers |= dict.fromkeys(named, _PARSERS[int if of_index else types[fact]])
    return parsers


_COLUMNS = _columns()
_VERSION = 2  # raised when a scan finds something else in the same file; older tables are not read
_HEAD = (f"path (scan {_VERSION})", *_COLUMNS)
_END_OF_ROW = b"\r\n"
# Beside a table: CRC-32 of each row and index, and of the table up to each row, uint32 each, in any order.
CHECKSUMS = ".crc32"
_LARGEST = {
    name: int(np.iinfo(column.dtype).max)
    for name, column in columns_of(VideoInfo).items()
    if column.dtype.startswith("<i")
}


def read_video_info(folder: Path) -> dict[str, VideoInfo]:
    """Read the latest video info by path; see ``read_all_video_info``."""
    return {path: found[-1] for path, found in read_all_video_info(folder).items()}


def read_all_video_info(folder: Path) -> dict[str, list[VideoInfo]]:
    """Read video info by path, the latest last: of a file that has changed, or of equal names under several roots.

    Left out are damaged rows, rows with a truncated index and files of another version; see Note [What is believed of a
    table]. The log names each table of which something is left out.
    """
    video_info: dict[str, list[VideoInfo]] = {}
    for part in sorted(folder.glob("*.csv")):
        found, num_damaged = _read_part(part) if part.is_file() else ({}, 0)
        for path, one in found.items():
            video_info.setdefault(path, []).append(one)
        if num_damaged:
            what = "rows are damaged or have lost their packet index"
            log.warning("%s: %d %s; their videos are scanned again", part, num_damaged, what)
    return video_info


def _read_part(part: Path) -> tuple[dict[str, VideoInfo], int]:
    """Video info of one table, and the number of its damaged rows."""
    data = part.read_bytes()
    # A row truncated in its last number would look complete.
    data = data[: data.rfind(_END_OF_ROW) + len(_END_OF_ROW)]
    checksums = _read_checksums(part.with_suffix(CHECKSUMS), crc32(data))
    rows = _rows(data.decode("utf-8", "surrogateescape"), checksums)
    head = next(rows, None)
    if head is None or tuple(head) != _HEAD:
        if data:
            log.warning(
                "%s: its first line is damaged or of another version; its videos are scanned again, but for those in "
                "other tables of the folder",
                part,
            )
        return {}, 0
    has_checksums = part.with_suffix(CHECKSUMS).is_file()
    if not has_checksums:
        log.warning("%s: its checksums (%s) are gone; rows with possible values are believed", part, CHECKSUMS)
    packets = part.with_suffix(".packets")
    size = packets.stat().st_size if packets.is_file() else 0
    video_info: dict[str, VideoInfo] = {}
    num_damaged = 0
    while block := list(islice(rows, _BLOCK)):
        whole = [row for row in block if row is not None and len(row) == len(_HEAD)]
        num_damaged += len(block) - len(whole)
        for row, one in zip(whole, _parse_rows(whole, packets), strict=True):
            if one is None or not (has_checksums or _is_possible(one)) or _end_of_index(one) > size:
                num_damaged += 1
            else:
                video_info[row[0]] = one
    return video_info, num_damaged


def _read_checksums(path: Path, of_table: int) -> Collection[int] | None:
    """The checksums that rows must have; None if there are none, or the table as a whole is as it was written."""
    if not path.is_file():
        return None
    found = checksums_in(path)
    return None if bool((found == of_table).any()) else set(found.tolist())


def checksums_in(path: Path) -> np.ndarray:
    """The checksums of a table, uint32, in any order; raises OSError if the file cannot be read."""
    data = path.read_bytes()
    return np.frombuffer(data[: len(data) // 4 * 4], "<u4")


def _rows(text: str, checksums: Collection[int] | None) -> Iterator[list[str] | None]:
    """The rows of a table; None for one that is not CSV, or does not have one of the checksums, if any."""
    if checksums is None and "\0" not in text:
        yield from csv_rows(io.StringIO(text, newline=""))
        return
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            taken.append(line)
            yield line

    for row in csv_rows(lines()):
        whole = "".join(taken)
        taken.clear()
        is_whole = "\0" not in whole if checksums is None else _checksum(whole) in checksums
        yield row if is_whole else None


def _checksum(row: str, of_rows_before: int = 0) -> int:
    return crc32(row.encode("utf-8", "surrogateescape"), of_rows_before)


def checksum_of_index(packets: bytes, codec_header: bytes) -> int:
    """The checksum of a packet index, as in the file of checksums."""
    return crc32(packets, crc32(codec_header))


def _is_possible(video_info: VideoInfo) -> bool:
    """Whether the numbers fit their columns in a manifest and each other; for tables without checksums."""
    if any(not 0 <= getattr(video_info, name) <= largest for name, largest in _LARGEST.items()):
        return False
    kind = video_info.health.partition(":")[0]
    if kind not in ("ok", "cut", "bad") or (kind == "ok" and video_info.health != "ok"):
        return False
    has_picture = min(video_info.num_frames, video_info.width, video_info.height) > 0 and video_info.codec != ""
    where = video_info.packets[1:] if video_info.packets else (0,)
    return (has_picture or kind == "bad") and video_info.rotation % 90 == 0 and 0 <= min(where) <= max(where) < 2**62


def _end_of_index(video_info: VideoInfo) -> int:
    location = video_info.packets
    if location is None:
        return 0
    return max(
        location.packets_at + video_info.num_packets * PACKET.itemsize,
        location.codec_header_at + location.codec_header_size,
    )


def _parse_rows(rows: Sequence[Sequence[str]], part: Path) -> list[VideoInfo | None]:
    """Video info of each row; None for one with a cell that is not of its column's kind."""
    try:
        return _parse_columns(rows, part)
    except ValueError:
        if len(rows) == 1:
            return [None]
        return [one for row in rows for one in _parse_rows([row], part)]


def _parse_columns(rows: Sequence[Sequence[str]], part: Path) -> list[VideoInfo | None]:
    """Column by column, as row by row takes twice as long. Raises ValueError for a cell of another kind."""
    if not rows:
        return []
    _, *columns = zip(*rows, strict=True)
    values = [parse(cells) for parse, cells in zip(_COLUMNS.values(), columns, strict=True)]
    where = zip(*values[_INDEX_AT], strict=True)
    values[_INDEX_AT] = [[PacketLocation(part, *at) if at[0] >= 0 else None for at in where]]
    return list(map(VideoInfo, *values))


class VideoInfoWriter:
    """Appends to a new table, its indexes and checksums in ``folder``, created with the first row."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._csv: TextIO | None = None
        self._packets: BinaryIO | None = None
        self._checksums: BinaryIO | None = None
        self._of_table = 0
        self._codec_headers: dict[bytes, int] = {}

    def __enter__(self) -> VideoInfoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self._csv, self._packets, self._checksums):
            if file is not None:
                # After a failed write, what is left in the buffer fails again.
                with suppress(OSError) if error else nullcontext():
                    file.close()

    def add(self, path: str, video_info: VideoInfo, index: PacketIndex | None) -> VideoInfo:
        """Write a row and its index; returns ``video_info`` with the index's location.

        Raises:
            OSError: the folder cannot be written.
        """
        try:
            return self._add(path, video_info, index)
        except OSError as error:
            raise OSError(
                f"{self._folder}: expected a folder for the scan's results that can be written and has room, found: "
                f"{error.strerror or error}; free space, or set data.scan_cache to another one. The same command goes "
                "on after the videos whose results are written."
            ) from error

    def _add(self, path: str, video_info: VideoInfo, index: PacketIndex | None) -> VideoInfo:
        if self._csv is None or self._packets is None:
            self._packets, self._checksums, self._csv = self._open()
            self._add_row(self._csv, _HEAD)
        location = None if index is None else self._add_index(self._packets, index)
        video_info = replace(video_info, packets=location)
        self._add_row(self._csv, [path, *_cells(video_info)])
        return video_info

    def _add_row(self, table: TextIO, cells: Sequence[object]) -> None:
        """Write the checksum first: a row without one is a damaged row."""
        text = io.StringIO(newline="")
        csv.writer(text).writerow(cells)
        self._add_checksum(_checksum(text.getvalue()))
        self._of_table = _checksum(text.getvalue(), self._of_table)
        self._add_checksum(self._of_table)
        table.write(text.getvalue())
        table.flush()

    def _add_checksum(self, checksum: int) -> None:
        assert self._checksums is not None
        self._checksums.write(checksum.to_bytes(4, "little"))
        self._checksums.flush()

    def _open(self) -> tuple[BinaryIO, BinaryIO, TextIO]:
        self._folder.mkdir(parents=True, exist_ok=True)
        # To the nanosecond: files are read in the order of their names, and the later of two in one second must win.
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        timestamp = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(seconds))}-{nanoseconds:09d}"
        name = f"{timestamp}-{os.getpid()}-{secrets.token_hex(3)}"
        packets = (self._folder / f"{name}.packets").open("xb")
        checksums = (self._folder / f"{name}{CHECKSUMS}").open("xb")
        rows = (self._folder / f"{name}.csv").open("x", newline="", encoding="utf-8", errors="surrogateescape")
        return packets, checksums, rows

    def _add_index(self, file: BinaryIO, index: PacketIndex) -> PacketLocation:
        codec_header_at = self._codec_headers.get(index.codec_header)
        if codec_header_at is None:
            codec_header_at = self._codec_headers[index.codec_header] = file.tell()
            file.write(index.codec_header)
        packets_at = file.tell()
        file.write(index.packets_P.tobytes())
        file.flush()
        self._add_checksum(checksum_of_index(index.packets_P.tobytes(), index.codec_header))
        return PacketLocation(Path(file.name), packets_at, codec_header_at, len(index.codec_header))


def _cells(video_info: VideoInfo) -> list[object]:
    """Cells after the path, as ``_parse_columns`` reads them."""
    where = video_info.packets[1:] if video_info.packets else _NO_INDEX
    cells: list[object] = []
    for fact in _FACTS:
        value = getattr(video_info, fact)
        cells += where if fact == "packets" else [("yes" if value else "no") if isinstance(value, bool) else value]
    return cells
