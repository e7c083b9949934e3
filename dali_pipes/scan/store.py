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
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, TextIO

import numpy as np

from dali_pipes.packets.packet_index import PACKET, PacketIndex
from dali_pipes.video_info import FileFacts, PacketPlace

_NUMBERS = ("num_frames", "num_packets", "width", "height", "rotation")
_BIG_NUMBERS = ("file_size", "mtime_ns")
_COLUMNS = (
    "path",
    *_NUMBERS,
    "codec",
    "pix_fmt",
    "matrix",
    "colour_range",
    *_BIG_NUMBERS,
    "health",
    "num_frames_source",
    "variable_rate",
    "whole_file",
    "packets_at",
    "stub_at",
    "stub_size",
    "start",
)


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
        if tuple(next(reader, ())) == _COLUMNS:
            packets = part.with_suffix(".packets")
            size = packets.stat().st_size if packets.exists() else 0
            found = (_parse(row, packets) for row in reader if len(row) == len(_COLUMNS))
            facts.update((path, one) for path, one in found if _end_of_index(one) <= size)
    return facts


def _end_of_index(facts: FileFacts) -> int:
    place = facts.packets
    if place is None:
        return 0
    return max(place.packets_at + facts.num_packets * PACKET.itemsize, place.stub_at + place.stub_size)


def _parse(row: Sequence[str], part: Path) -> tuple[str, FileFacts]:
    (path, num_frames, num_packets, width, height, rotation, codec, pix_fmt, matrix, colour_range) = row[:10]
    (file_size, mtime_ns, health, source, variable, whole_file, packets_at, stub_at, stub_size, start) = row[10:]
    return path, FileFacts(
        int(num_frames),
        int(num_packets),
        int(width),
        int(height),
        int(rotation),
        codec,
        pix_fmt,
        matrix,
        colour_range,
        int(file_size),
        int(mtime_ns),
        health,
        source,
        variable == "yes",
        whole_file,
        None if packets_at == "-1" else PacketPlace(part, int(packets_at), int(stub_at), int(stub_size)),
        int(start),
    )


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
        at = place[1:] if place else (-1, -1, 0)
        csv.writer(self._csv).writerow([path, *(_cell(facts, name) for name in _COLUMNS[1:-4]), *at, facts.start])
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
        csv.writer(rows).writerow(_COLUMNS)
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


def _cell(facts: FileFacts, name: str) -> object:
    value = getattr(facts, name)
    return ("yes" if value else "no") if isinstance(value, bool) else value


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
