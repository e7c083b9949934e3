"""Which runs a comparison of a study sets side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reskd.study.config import ComparisonConfig, StudyConfig

# An arm, and the name of a value for each axis of the study.
Cell = tuple[str, tuple[str, ...]]


def compared_cells(study: StudyConfig, one: ComparisonConfig, cells: Mapping[Cell, str]) -> Iterator[tuple[Cell, Cell]]:
    """The pairs of cells that a comparison asks for and that both have a run; a run is not compared with itself.

    Args:
        cells: as in ``StudyPlan``.
    """
    for cell, run in cells.items():
        place = dict(zip(study.axes, cell[1], strict=True))
        if cell[0] != one.arm or one.at.items() - place.items():
            continue
        other = (one.over, tuple({**place, **one.over_at}.values()))
        if cells.get(other, run) != run:
            yield cell, other
