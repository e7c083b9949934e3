"""A manifest's rows: video info as an array of fixed-size rows. The columns are derived from ``VideoInfo``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from dali_pipes.video_info import NO_INDEX, Column, PacketLocation, VideoInfo, columns_of

# By the name of VideoInfo's field.
COLUMNS = {
    fact: column._replace(name=column.row_name or column.name)
    for fact, column in columns_of(VideoInfo).items()
    if column.dtype
}
_INDEX_COLUMNS = columns_of(PacketLocation)


def _row_dtype() -> np.dtype[Any]:
    """The order is part of the file format: label, VideoInfo's fields up to ``packets`` sorted by kind, ends, packet
    index, and the fields after ``packets``."""
    kinds = ("<i4", "<i2", "?", "S", "<i8")

    def kind(column: Column) -> int:
        return next(number for number, start in enumerate(kinds) if column.dtype.startswith(start))

    names = [field.name for field in fields(VideoInfo)]
    before = set(names[: names.index("packets")])
    first = sorted((column for name, column in COLUMNS.items() if name in before), key=kind)
    later = [column for name, column in COLUMNS.items() if name not in before]
    # Not from VideoInfo: the first label; the ends of the row's path and labels in the concatenated arrays.
    label, ends = Column("<i4", "label"), [Column("<i8", "path_end"), Column("<i8", "label_end")]
    columns = [label, *first, *ends, *_INDEX_COLUMNS.values(), *later]
    return np.dtype([(column.name, column.dtype) for column in columns])


ROW = _row_dtype()


def to_rows(video_info: Sequence[VideoInfo]) -> tuple[np.ndarray, tuple[Path, ...]]:
    """Make rows (M,) of type ``ROW`` with label and ends still 0, and the packet index files that they number."""
    rows = np.zeros(len(video_info), ROW)
    for name, column in COLUMNS.items():
        held = map(attrgetter(name), video_info)
        rows[column.name] = _as_array(map(column.to_row, held) if column.to_row else held, column.dtype, len(rows))
    parts = {one.packets.part: None for one in video_info if one.packets}
    number_of = {part: number for number, part in enumerate(parts)}
    locations = [(number_of[at.part], *at[1:]) if at else (-1, -1, -1, 0) for at in (one.packets for one in video_info)]
    for column, values in zip(_INDEX_COLUMNS.values(), zip(*locations, strict=True), strict=True):
        rows[column.name] = _as_array(values, column.dtype, len(rows))
    return rows, tuple(parts)


def _as_array(values: Iterable[Any], dtype: str, count: int) -> np.ndarray:
    """Raises OverflowError for a number that is too large for its column."""
    return np.array(list(values), dtype) if dtype.startswith("S") else np.fromiter(values, dtype, count)


def to_facts(row: np.void, parts: Sequence[Path]) -> VideoInfo:
    """Read the video info of a row, without reasons: health is "ok" or "cut"."""
    assert row.dtype.names is not None
    held = dict(zip(row.dtype.names, row.item(), strict=True))
    values = {
        name: column.from_row(held[column.name]) if column.from_row else held[column.name]
        for name, column in COLUMNS.items()
    }
    part, *where = (held[column.name] for column in _INDEX_COLUMNS.values())
    packets = PacketLocation(parts[part], *where) if part >= 0 else None
    return VideoInfo(**values, packets=packets, whole_file="" if packets else NO_INDEX)
