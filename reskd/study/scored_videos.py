"""Refuses a study whose runs would be scored on different videos, before the first of them is made.

What ``data.test_fraction`` and ``data.val_fraction`` hold out follows from the run's seed unless ``data.split_seed`` is
set. Means over seeds and paired comparisons need the same videos in all their runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reskd.experiment.config import ExperimentConfig
from reskd.study.compared_cells import Cell, compared_cells
from reskd.study.config import StudyConfig


def check_scored_videos(study: StudyConfig, configs: Mapping[str, ExperimentConfig], cells: Mapping[Cell, str]) -> None:
    """Check that the runs of a mean or of a comparison hold out the same videos to be scored on.

    Args:
        configs: of the runs, by name.
        cells: as in ``StudyPlan``.

    Raises:
        ValueError: two runs hold out other videos; names both, with their seeds, and the setting to add.
    """
    split_seeds = _split_seeds(study, configs, cells)
    for one, other in _scored_together(study, cells):
        seed, other_seed = split_seeds.get(one), split_seeds.get(other)
        if seed is not None and other_seed is not None and seed != other_seed:
            pair = f"{_named(study, one)} (split by seed {seed}) and {_named(study, other)} (by seed {other_seed})"
            raise ValueError(
                f"{study.name}: expected runs that are scored on the same videos, but data.{study.score}_fraction "
                f"holds out other videos in {pair}; add data.split_seed: {seed} to settings in the study's "
                f"file, as settings: {{data.split_seed: {seed}}}."
            )


def _scored_together(study: StudyConfig, cells: Mapping[Cell, str]) -> Iterator[tuple[Cell, Cell]]:
    """Pairs of cells of one mean, of one comparison or of one gap."""
    first: dict[Cell, Cell] = {}
    for arm, values in cells:
        yield first.setdefault((arm, _without_repeat(study, values)), (arm, values)), (arm, values)
    for gap in study.recovery:
        for arm, values in cells:
            if arm == gap.student:
                yield from (((other, values), (arm, values)) for other in (gap.baseline, gap.teacher))
    for one in study.compare:
        yield from ((other, cell) for cell, other in compared_cells(study, one, cells))


def _split_seeds(
    study: StudyConfig, configs: Mapping[str, ExperimentConfig], cells: Mapping[Cell, str]
) -> dict[Cell, int]:
    """The seed that decides which videos a fraction holds out to be scored; cells without such a fraction have none."""
    return {
        cell: configs[name].data.seed_of_split(configs[name].seed)
        for cell, name in cells.items()
        if configs[name].data.seed_decides(study.score)
    }


def _without_repeat(study: StudyConfig, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(value for axis, value in zip(study.axes, values, strict=True) if axis != study.repeat)


def _named(study: StudyConfig, cell: Cell) -> str:
    arm, values = cell
    where = ", ".join(f"{axis} {value}" for axis, value in zip(study.axes, values, strict=True))
    return f"{arm} at {where}" if where else arm
