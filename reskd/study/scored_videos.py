"""Refuses a study whose runs would be scored on different videos, before the first of them is made.

What ``data.test_fraction`` and ``data.val_fraction`` hold out follows from the run's seed unless ``data.split_seed`` is
set. Means over seeds and paired comparisons need the same videos in all their runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reskd.experiment.config import ExperimentConfig
from reskd.study.config import StudyConfig

Cell = tuple[str, tuple[str, ...]]


def check_scored_videos(study: StudyConfig, configs: Mapping[str, ExperimentConfig], cells: Mapping[Cell, str]) -> None:
    """Check that the runs of a mean or of a comparison hold out the same videos to be scored on.

    Args:
        configs: of the runs, by name.
        cells: as in ``StudyPlan``.

    Raises:
        ValueError: two runs hold out other videos; names both, with their seeds, and the setting to add.
    """
    for arms in _averaged_or_compared(study, dict.fromkeys(arm for arm, _ in cells)):
        first: dict[tuple[str, ...], tuple[Cell, int]] = {}
        for cell, seed in _held_out_by(study, configs, cells):
            if cell[0] not in arms:
                continue
            other, other_seed = first.setdefault(_without_repeat(study, cell[1]), (cell, seed))
            if other_seed != seed:
                pair = f"{_named(study, other)} (split by seed {other_seed}) and {_named(study, cell)} (by seed {seed})"
                raise ValueError(
                    f"{study.name}: expected runs that are scored on the same videos, but data.{study.score}_fraction "
                    f"holds out other videos in {pair}; add data.split_seed: {other_seed} to settings in the study's "
                    f"file, as settings: {{data.split_seed: {other_seed}}}."
                )


def _averaged_or_compared(study: StudyConfig, arms: Mapping[str, None]) -> Iterator[tuple[str, ...]]:
    yield from ((arm,) for arm in arms)
    yield from ((one.arm, one.over) for one in study.compare)
    yield from ((one.student, one.baseline, one.teacher) for one in study.recovery)


def _held_out_by(
    study: StudyConfig, configs: Mapping[str, ExperimentConfig], cells: Mapping[Cell, str]
) -> Iterator[tuple[Cell, int]]:
    """The cells whose scored videos are held out by a fraction, and the seed that decides which."""
    for cell, name in cells.items():
        config = configs[name]
        if config.data.seed_decides(study.score):
            yield cell, config.data.seed_of_split(config.seed)


def _without_repeat(study: StudyConfig, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(value for axis, value in zip(study.axes, values, strict=True) if axis != study.repeat)


def _named(study: StudyConfig, cell: Cell) -> str:
    arm, values = cell
    where = ", ".join(f"{axis} {value}" for axis, value in zip(study.axes, values, strict=True))
    return f"{arm} at {where}" if where else arm
