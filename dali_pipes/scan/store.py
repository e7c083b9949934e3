"""Store scan results: each run writes a human-readable CSV, and its packet indexes beside it.

Rows are appended as files are done, the indexes first, so a killed scan loses only the files in progress. Every run
writes its own file; scans on several machines may share a folder without locks. Later files win.
"""

from __future__ import annotations

import csv
import io
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TextIO, get_type_hints

import numpy as np

from dali_pipes.packets.packet_index import PACKET, PacketIndex
from dali_pipes.video_info import PacketLocation, VideoInfo, columns_of

# Parse a cell, by the type of the field.
_PARSERS: Mapping[Any, Callable[[str], Any]] = {int: int, str: str, bool: lambda cell: cell == "yes"}
# Without the first column: the index file is the one beside the CSV.
_INDEX_COLUMNS = tuple(column.name for column in columns_of(PacketLocation).values())[1:]
_NO_INDEX = (-1, -1, 0)


_FACTS = [field.name for field in fields(VideoInfo)]
_INDEX_AT = slice(_FACTS.index("packets"), _FACTS.index("packets") + len(_INDEX_COLUMNS))


def _columns() -> dict[str, Callable[[str], Any]]:
    """Name and parser of each column after the path: VideoInfo's fields in order, the packet index as three numbers."""
    types, names = get_type_hints(VideoInfo), columns_of(VideoInfo)
    parsers: dict[str, Callable[[str], Any]] = {}
    for fact in _FACTS:
        of_index = fact == "packets"
        parsers |= dict.fromkeys(_INDEX_COLUMNS, int) if of_index else {names[fact].name: _PARSERS[types[fact]]}
    return parsers


_COLUMNS = _columns()
_HEAD = ("path", *_COLUMNS)
_END_OF_ROW = "\r\n"


def read_video_info(folder: Path) -> dict[str, VideoInfo]:
    """Read video info by path. Truncated rows, rows with a truncated index and files of another version are skipped."""
    video_info: dict[str, VideoInfo] = {}
    for part in sorted(folder.glob("*.csv")):
        with part.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
        # A row truncated in its last number would look complete.
        reader = csv.reader(io.StringIO(text[: text.rfind(_END_OF_ROW) + len(_END_OF_ROW)], newline=""))
        if tuple(next(reader, ())) == _HEAD:
            packets = part.with_suffix(".packets")
            size = packets.stat().st_size if packets.exists() else 0
            found = (_parse(row, packets) for row in reader if len(row) == len(_HEAD))
            video_info.update((path, one) for path, one in found if _end_of_index(one) <= size)
    return video_info


def _end_of_index(video_info: VideoInfo) -> int:
    location = video_info.packets
    if location is None:
        return 0
    return max(
        location.packets_at + video_info.num_packets * PACKET.itemsize,
        location.codec_header_at + location.codec_header_size,
    )


def _parse(row: Sequence[str], part: Path) -> tuple[str, VideoInfo]:
    path, *cells = row
    values = [parse(cell) for parse, cell in zip(_COLUMNS.values(), cells, strict=True)]
    where = values[_INDEX_AT]
    values[_INDEX_AT] = [PacketLocation(part, *where) if where[0] >= 0 else None]
    return path, VideoInfo(*values)


class VideoInfoWriter:
    """Appends to a new pair of files in ``folder``, created with the first row."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._csv: TextIO | None = None
        self._packets: BinaryIO | None = None
        self._codec_headers: dict[bytes, int] = {}

    def __enter__(self) -> VideoInfoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self._csv, self._packets):
            if file is not None:
                file.close()

    def add(self, path: str, video_info: VideoInfo, index: PacketIndex | None) -> VideoInfo:
        """Write a row and its index; returns ``video_info`` with the index's location.

        Raises:
            OSError: the folder cannot be written.
        """
        if self._csv is None or self._packets is None:
            self._csv, self._packets = self._open()
        location = None if index is None else self._add_index(self._packets, index)
        video_info = replace(video_info, packets=location)
        csv.writer(self._csv).writerow([path, *_cells(video_info)])
        self._csv.flush()
        return video_info

    def _open(self) -> tuple[TextIO, BinaryIO]:
        self._folder.mkdir(parents=True, exist_ok=True)
        # To the nanosecond: files are read in the order of their names, and the later of two in one second must win.
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        timestamp = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(seconds))}-{nanoseconds:09d}"
        name = f"{timestamp}-{os.getpid()}-{secrets.token_hex(3)}"
        packets = (self._folder / f"{name}.packets").open("xb")
        rows = (self._folder / f"{name}.csv").open("x", newline="", encoding="utf-8", errors="surrogateescape")
        csv.writer(rows).writerow(_HEAD)
        return rows, packets

    def _add_index(self, file: BinaryIO, index: PacketIndex) -> PacketLocation:
        codec_header_at = self._codec_headers.get(index.codec_header)
        if codec_header_at is None:
            codec_header_at = self._codec_headers[index.codec_header] = file.tell()
            file.write(index.codec_header)
        packets_at = file.tell()
        file.write(index.packets_P.tobytes())
        file.flush()
        return PacketLocation(Path(file.name), packets_at, codec_header_at, len(index.codec_header))


def _cells(video_info: VideoInfo) -> list[object]:
    """Cells after the path, as ``_parse`` reads them."""
    where = video_info.packets[1:] if video_info.packets else _NO_INDEX
    cells: list[object] = []
    for fact in _FACTS:
        value = getattr(video_info, fact)
        cells += where if fact == "packets" else [("yes" if value else "no") if isinstance(value, bool) else value]
    return cells


class IndexReader:
    """Reads indexes by location. Keeps files open and the codec headers, of which there are few, in memory."""

    def __init__(self) -> None:
        self._files: dict[Path, int] = {}
        self._codec_headers: dict[tuple[Path, int], bytes] = {}

    def __reduce__(self) -> tuple[type[IndexReader], tuple[()]]:
        """In another process, file descriptors refer to other files."""
        return IndexReader, ()

    def read(self, location: PacketLocation, num_packets: int) -> PacketIndex:
        """Read the index of a video.

        Raises:
            OSError: the index file is gone.
            ValueError: the index file is truncated.
        """
        packets = self._pread(location.part, num_packets * PACKET.itemsize, location.packets_at)
        key = (location.part, location.codec_header_at)
        if key not in self._codec_headers:
            self._codec_headers[key] = self._pread(location.part, location.codec_header_size, location.codec_header_at)
        return PacketIndex(np.frombuffer(packets, PACKET), self._codec_headers[key])

    def _pread(self, part: Path, size: int, offset: int) -> bytes:
        if part not in self._files:
            self._files[part] = os.open(part, os.O_RDONLY)
        data = os.pread(self._files[part], size, offset)
        if len(data) != size:
            raise ValueError(f"{part}: expected {size} bytes at {offset}, found {len(data)}; scan again.")
        return data

    def __del__(self) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)
