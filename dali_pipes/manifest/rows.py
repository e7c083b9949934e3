"""A manifest's rows: facts as an array whose rows all have the same size. The columns follow from ``VideoInfo``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from dali_pipes.video_info import NO_INDEX, Column, PacketLocation, VideoInfo, columns_of

# By the name of the fact.
COLUMNS = {
    fact: column._replace(name=column.row_name or column.name)
    for fact, column in columns_of(VideoInfo).items()
    if column.dtype
}
_INDEX_COLUMNS = columns_of(PacketLocation)


def _row_dtype() -> np.dtype[Any]:
    """The order is part of the file format: label, facts sorted by kind, ends, packet index, and the facts behind the
    packet index in ``VideoInfo``."""
    kinds = ("<i4", "<i2", "?", "S", "<i8")

    def kind(column: Column) -> int:
        return next(number for number, start in enumerate(kinds) if column.dtype.startswith(start))

    names = [field.name for field in fields(VideoInfo)]
    before = set(names[: names.index("packets")])
    first = sorted((column for name, column in COLUMNS.items() if name in before), key=kind)
    later = [column for name, column in COLUMNS.items() if name not in before]
    # The row's own: its first label; where its path and its labels end in the arrays that hold those of all rows.
    label, ends = Column("<i4", "label"), [Column("<i8", "path_end"), Column("<i8", "label_end")]
    columns = [label, *first, *ends, *_INDEX_COLUMNS.values(), *later]
    return np.dtype([(column.name, column.dtype) for column in columns])


ROW = _row_dtype()


def to_rows(video_info: Sequence[VideoInfo]) -> tuple[np.ndarray, tuple[Path, ...]]:
    """Rows (M,) of type ``ROW`` with label and ends still 0, and the files with packet indexes that they count."""
    rows = np.zeros(len(video_info), ROW)
    for name, column in COLUMNS.items():
        # By np.array, which refuses a number that is too large for its column.
        rows[column.name] = np.array([column.to_row(getattr(one, name)) for one in video_info], column.dtype)
    parts = {one.packets.part: None for one in video_info if one.packets}
    number_of = {part: number for number, part in enumerate(parts)}
    locations = [(number_of[at.part], *at[1:]) if at else (-1, -1, -1, 0) for at in (one.packets for one in video_info)]
    for column, values in zip(_INDEX_COLUMNS.values(), zip(*locations, strict=True), strict=True):
        rows[column.name] = np.array(values, column.dtype)
    return rows, tuple(parts)


def to_facts(row: np.void, parts: Sequence[Path]) -> VideoInfo:
    """The facts of a row, without reasons: health is "ok" or "cut"."""
    assert row.dtype.names is not None
    held = dict(zip(row.dtype.names, row.item(), strict=True))
    values = {name: column.from_row(held[column.name]) for name, column in COLUMNS.items()}
    part, *where = (held[column.name] for column in _INDEX_COLUMNS.values())
    packets = PacketLocation(parts[part], *where) if part >= 0 else None
    return VideoInfo(**values, packets=packets, whole_file="" if packets else NO_INDEX)
