"""What scans found out, on disk: for each run a CSV that a person can read, and beside it the packet indexes.

Rows are appended as files are done, the indexes first, so a scan that is killed loses the files it was at and no more.
Every run writes a file of its own; scans on several machines may share a folder without locks. Later files win.
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
from dali_pipes.video_info import FileFacts, PacketPlace, columns_of

# From a cell to a value, by the type of the fact.
_PARSERS: Mapping[Any, Callable[[str], Any]] = {int: int, str: str, bool: lambda cell: cell == "yes"}
# Without the first: the file is the one beside the CSV.
_INDEX_COLUMNS = tuple(column.name for column in columns_of(PacketPlace).values())[1:]
_NO_INDEX = (-1, -1, 0)


_FACTS = [field.name for field in fields(FileFacts)]
_INDEX_AT = slice(_FACTS.index("packets"), _FACTS.index("packets") + len(_INDEX_COLUMNS))


def _columns() -> dict[str, Callable[[str], Any]]:
    """Name and parser of each column behind the path: the facts in their order, the packet index as three numbers."""
    types, names = get_type_hints(FileFacts), columns_of(FileFacts)
    parsers: dict[str, Callable[[str], Any]] = {}
    for fact in _FACTS:
        of_index = fact == "packets"
        parsers |= dict.fromkeys(_INDEX_COLUMNS, int) if of_index else {names[fact].name: _PARSERS[types[fact]]}
    return parsers


_COLUMNS = _columns()
_HEAD = ("path", *_COLUMNS)
_END_OF_ROW = "\r\n"


def read_facts(folder: Path) -> dict[str, FileFacts]:
    """Facts by path as written; rows that were cut short, rows whose index was, and files of another version are left
    out."""
    facts: dict[str, FileFacts] = {}
    for part in sorted(folder.glob("*.csv")):
        with part.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
        # Cut off in its last number, a row would look whole.
        reader = csv.reader(io.StringIO(text[: text.rfind(_END_OF_ROW) + len(_END_OF_ROW)], newline=""))
        if tuple(next(reader, ())) == _HEAD:
            packets = part.with_suffix(".packets")
            size = packets.stat().st_size if packets.exists() else 0
            found = (_parse(row, packets) for row in reader if len(row) == len(_HEAD))
            facts.update((path, one) for path, one in found if _end_of_index(one) <= size)
    return facts


def _end_of_index(facts: FileFacts) -> int:
    place = facts.packets
    if place is None:
        return 0
    return max(place.packets_at + facts.num_packets * PACKET.itemsize, place.stub_at + place.stub_size)


def _parse(row: Sequence[str], part: Path) -> tuple[str, FileFacts]:
    path, *cells = row
    values = [parse(cell) for parse, cell in zip(_COLUMNS.values(), cells, strict=True)]
    where = values[_INDEX_AT]
    values[_INDEX_AT] = [PacketPlace(part, *where) if where[0] >= 0 else None]
    return path, FileFacts(*values)


class FactsWriter:
    """Appends to a new pair of files in ``folder``, which are made with the first row."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._csv: TextIO | None = None
        self._packets: BinaryIO | None = None
        self._stubs: dict[bytes, int] = {}

    def __enter__(self) -> FactsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self._csv, self._packets):
            if file is not None:
                file.close()

    def add(self, path: str, facts: FileFacts, index: PacketIndex | None) -> FileFacts:
        """Write a row and its index; the answer is ``facts`` with the index's place.

        Raises:
            OSError: the folder cannot be written.
        """
        if self._csv is None or self._packets is None:
            self._csv, self._packets = self._open()
        place = None if index is None else self._add_index(self._packets, index)
        facts = replace(facts, packets=place)
        csv.writer(self._csv).writerow([path, *_cells(facts)])
        self._csv.flush()
        return facts

    def _open(self) -> tuple[TextIO, BinaryIO]:
        self._folder.mkdir(parents=True, exist_ok=True)
        # To the nanosecond: files are read in the order of their names, and the later of two in a second has to win.
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        moment = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(seconds))}-{nanoseconds:09d}"
        name = f"{moment}-{os.getpid()}-{secrets.token_hex(3)}"
        packets = (self._folder / f"{name}.packets").open("xb")
        rows = (self._folder / f"{name}.csv").open("x", newline="", encoding="utf-8", errors="surrogateescape")
        csv.writer(rows).writerow(_HEAD)
        return rows, packets

    def _add_index(self, file: BinaryIO, index: PacketIndex) -> PacketPlace:
        stub_at = self._stubs.get(index.stub)
        if stub_at is None:
            stub_at = self._stubs[index.stub] = file.tell()
            file.write(index.stub)
        packets_at = file.tell()
        file.write(index.packets_P.tobytes())
        file.flush()
        return PacketPlace(Path(file.name), packets_at, stub_at, len(index.stub))


def _cells(facts: FileFacts) -> list[object]:
    """What ``_parse`` reads, behind the path."""
    where = facts.packets[1:] if facts.packets else _NO_INDEX
    cells: list[object] = []
    for fact in _FACTS:
        value = getattr(facts, fact)
        cells += where if fact == "packets" else [("yes" if value else "no") if isinstance(value, bool) else value]
    return cells


class IndexReader:
    """Reads indexes by place; keeps the files open and the stubs in memory, which few encoders' settings share."""

    def __init__(self) -> None:
        self._files: dict[Path, int] = {}
        self._stubs: dict[tuple[Path, int], bytes] = {}

    def __reduce__(self) -> tuple[type[IndexReader], tuple[()]]:
        """In another process, the numbers of open files mean other files."""
        return IndexReader, ()

    def read(self, place: PacketPlace, num_packets: int) -> PacketIndex:
        """The index of a video.

        Raises:
            OSError: the file is gone.
            ValueError: it ends early.
        """
        packets = self._pread(place.part, num_packets * PACKET.itemsize, place.packets_at)
        key = (place.part, place.stub_at)
        if key not in self._stubs:
            self._stubs[key] = self._pread(place.part, place.stub_size, place.stub_at)
        return PacketIndex(np.frombuffer(packets, PACKET), self._stubs[key])

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
