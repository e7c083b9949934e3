"""The runs of a study: every arm at every combination of the axes' values, each distinct run once.

Note [When two runs are one]
A run is called after its arm and a hash of all settings that determine its result; a teacher or initial weights count
by their own run's hash. So an arm that an axis does not touch is run once, and studies that share a run, as two tables
may share their teachers, share its folder.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from reskd.experiment.config import ExperimentConfig, parse_config, referred_stage
from reskd.experiment.config_files import merge_files, read_config_files
from reskd.experiment.networks import check_networks
from reskd.experiment.stages import load_stages
from reskd.study.compared_cells import Cell, compared_cells
from reskd.study.config import StudyConfig
from reskd.study.scored_videos import check_scored_videos
from reskd.training.run_directory import config_hash

RUNS = "study_runs"
_HASH_DIGITS = 10


@dataclass(frozen=True)
class PlannedRun:
    """One run, or one scoring of another run's weights.

    Args:
        name: the folder of the run.
        arm: as in the study's file.
        config: for a scoring, its data settings apply and nothing is trained.
        needs: names of the runs that come first.
        weights: name of the run whose weights are scored; its own name if it is trained.
        keeps: its checkpoints stay.
        split, checkpoint: what is scored, as in ``StudyConfig``.
    """

    name: str
    arm: str
    config: ExperimentConfig
    needs: tuple[str, ...]
    weights: str
    keeps: bool
    split: Literal["test", "val"]
    checkpoint: Literal["last", "best"]

    @property
    def is_trained(self) -> bool:
        return self.weights == self.name

    @property
    def folder(self) -> Path:
        return self.config.folder


@dataclass(frozen=True)
class StudyPlan:
    """The runs, those that others need first, and which one stands in each cell.

    Attributes:
        runs: by name; each after the runs that it needs.
        cells: (arm, name of a value for each axis) -> name of its run.
    """

    study: StudyConfig
    runs: Mapping[str, PlannedRun]
    cells: Mapping[Cell, str]

    def condition(self, cell: tuple[str, ...]) -> tuple[str, ...]:
        """The values of a cell on the axes that are neither repeated nor pooled."""
        kept = self.study.condition_axes
        return tuple(value for axis, value in zip(self.study.axes, cell, strict=True) if axis in kept)

    def in_order(self) -> list[PlannedRun]:
        """The runs of the first value of the repeated axis, then those of the next; each after the runs that it needs.

        So a study that is stopped has whole seeds, which alone count.
        """
        repeat = self.study.repeat
        values = list(self.study.axes[repeat]) if repeat else []
        place = list(self.study.axes).index(repeat) if repeat else 0
        turn = dict.fromkeys(self.runs, len(values))
        for (_, cell), name in self.cells.items():
            turn[name] = min(turn[name], values.index(cell[place]) if repeat else 0)
        for run in reversed(list(self.runs.values())):  # those that need others stand behind them
            for needed in run.needs:
                turn[needed] = min(turn[needed], turn[run.name])
        return sorted(self.runs.values(), key=lambda run: turn[run.name])


def plan_study(study: StudyConfig) -> StudyPlan:
    """Expand the study's axes and check every kind of run.

    Raises:
        FileNotFoundError, ValueError: as ``load_stages`` and ``check_networks``; an arm or a key that does not exist; a
            value that leaves every arm as it was; runs that would be scored on different videos. Names the arm and the
            values.
    """
    if not study.config.is_file():
        raise FileNotFoundError(f"{study.name}: config: expected a file with the arms at {study.config}, found none.")
    _check_arms(study)
    builder = _Builder(study)
    for values in itertools.product(*study.axes.values()):
        builder.add_combination(values)
    _check_axes_matter(study, builder.cells)
    _check_comparisons(study, builder.cells)
    check_scored_videos(study, {name: run.config for name, run in builder.runs.items()}, builder.cells)
    referred = {needed for run in builder.runs.values() for needed in run.needs}
    runs = {
        name: run if study.keep == "all" or name in referred else replace(run, keeps=False)
        for name, run in builder.runs.items()
    }
    return StudyPlan(study, runs, builder.cells)


def arms_of(study: StudyConfig) -> list[str]:
    """Names of the trained arms, in order.

    Raises:
        ValueError: the file has no stages.
    """
    stages = merge_files(read_config_files(study.config)).get("stages")
    if not isinstance(stages, list):
        raise ValueError(f"{study.config}: expected the arms of a study as stages, found none.")
    return [stage["name"] for stage in stages if isinstance(stage, dict) and isinstance(stage.get("name"), str)]


def _check_arms(study: StudyConfig) -> None:
    trained = arms_of(study)
    known = [*trained, *study.also_scored]
    if twice := set(trained) & set(study.also_scored):
        raise ValueError(f"{study.name}: also_scored: {min(twice)} is an arm of {study.config} already.")
    asked = {f"only.{arm}": arm for arm in study.only} | {f"arms.{arm}": arm for arm in study.arms}
    for name, one in study.also_scored.items():
        for key, arm in (("weights", one.weights), ("view", one.view)):
            if arm not in trained:
                raise ValueError(
                    f"{study.name}: also_scored.{name}.{key}: expected an arm of {study.config} "
                    f"({', '.join(trained)}), found {arm}."
                )
    for number, compared in enumerate(study.compare):
        asked |= {f"compare.{number}.arm": compared.arm, f"compare.{number}.over": compared.over}
    for number, recovery in enumerate(study.recovery):
        asked |= {f"recovery.{number}.{key}": arm for key, arm in recovery.model_dump().items()}
    for number, group in enumerate(study.bars):
        asked |= {f"bars.{number}.arms.{place}": arm for place, arm in enumerate(group.arms)}
    for key, arm in asked.items():
        if arm not in known:
            raise ValueError(f"{study.name}: {key}: expected an arm ({', '.join(known)}), found {arm}.")
        if study.arms and arm not in study.arms:
            raise ValueError(f"{study.name}: {key}: expected one of arms ({', '.join(study.arms)}), found {arm}.")


def _check_axes_matter(study: StudyConfig, cells: Mapping[Cell, str]) -> None:
    """Refuse a value of an axis under which every arm's run is that of another value: most likely a wrong key."""
    for index, (axis, values) in enumerate(study.axes.items()):
        runs = {value: {run for (_, cell), run in cells.items() if cell[index] == value} for value in values}
        for one, other in itertools.combinations(values, 2):
            if runs[one] and runs[one] == runs[other]:
                raise ValueError(
                    f"{study.name}: axes.{axis}: expected values that change a run, found {one} and {other}, at which "
                    "all runs are the same."
                )


def _check_comparisons(study: StudyConfig, cells: Mapping[Cell, str]) -> None:
    for number, one in enumerate(study.compare):
        if not any(compared_cells(study, one, cells)):
            raise ValueError(
                f"{study.name}: compare.{number}: expected arms with different runs at some values of the axes, found "
                f"none for {one.question}."
            )


class _Builder:
    def __init__(self, study: StudyConfig) -> None:
        self._study = study
        self._checked: set[str] = set()
        self.runs: dict[str, PlannedRun] = {}
        self.cells: dict[Cell, str] = {}

    def add_combination(self, values: tuple[str, ...]) -> None:
        """Add the runs of all arms at one combination of the axes' values."""
        named = dict(zip(self._study.axes, values, strict=True))
        where = ", ".join(f"{axis} {value}" for axis, value in named.items())
        try:
            stages = load_stages(self._study.config, list(_overrides(self._study, named)))
        except ValueError as error:
            raise ValueError(f"{self._study.name}, at {where}: {error}") from None
        by_arm = {stage.name.rpartition(".")[2]: stage for stage in stages}
        wanted = {arm for arm in (*by_arm, *self._study.also_scored) if self._is_wanted(arm, named)}
        needed = _with_needed(wanted, by_arm, self._study)
        of_arm: dict[str, PlannedRun] = {}
        for arm, stage in by_arm.items():
            if arm in needed:
                of_arm[arm] = self._run_of(arm, stage, of_arm, where)
        for name, scored in self._study.also_scored.items():
            if name in wanted:
                of_arm[name] = self._scoring_of(name, of_arm[scored.weights], of_arm[scored.view])
        for arm in of_arm:
            if arm in wanted:
                self.cells[arm, values] = of_arm[arm].name
                self._add(of_arm[arm], of_arm)

    def _is_wanted(self, arm: str, named: Mapping[str, str]) -> bool:
        is_asked = not self._study.arms or arm in self._study.arms
        return is_asked and all(named[axis] in names for axis, names in self._study.only.get(arm, {}).items())

    def _add(self, run: PlannedRun, of_arm: Mapping[str, PlannedRun]) -> None:
        """Add a run after those that it needs."""
        for other in of_arm.values():
            if other.name in run.needs:
                self._add(other, of_arm)
        self.runs.setdefault(run.name, run)

    def _run_of(self, arm: str, stage: ExperimentConfig, earlier: Mapping[str, PlannedRun], where: str) -> PlannedRun:
        resolved, needs = stage.resolved(), []
        teacher = _earlier(stage.teacher.stage if stage.teacher else None, earlier)
        start = _earlier(stage.student.weights, earlier)
        if teacher:
            resolved["teacher"]["stage"] = teacher.name
            needs.append(teacher.name)
        if start:
            resolved["student"]["weights"] = start.name
            needs.append(start.name)
        settings = {key: value for key, value in resolved.items() if key not in ("name", "device")}
        name = f"{arm}-{_hash(settings | self._test_views(resolved))}"
        resolved |= {"name": name, "runs": str(self._study.runs / RUNS)}
        if teacher:
            resolved["teacher"]["stage"] = str(teacher.folder / "config.yaml")
        if start:
            resolved["student"]["weights"] = str(start.folder / "last.pt")
        config = parse_config(resolved, where=f"{self._study.name}, {arm} at {where}")
        self._check(config, teacher, arm, where)
        return PlannedRun(name, arm, config, tuple(needs), name, True, self._study.score, self._study.checkpoint)

    def _test_views(self, resolved: Mapping[str, Any]) -> dict[str, Any]:
        """The test views that a run is scored with, where they are not one clip and one crop.

        They are no part of what a run trains, and so not of its hash.
        """
        sampling = resolved["data"].get("sampling", {})
        views = [sampling.get(key, 1) for key in ("test_clips", "test_crops")]
        return {"test_views": views} if self._study.score == "test" and views != [1, 1] else {}

    def _scoring_of(self, arm: str, weights: PlannedRun, view: PlannedRun) -> PlannedRun:
        resolved = view.config.resolved()
        settings = {"weights": weights.name, "data": resolved["data"], "student": resolved["student"]}
        name = f"{arm}-{_hash(settings | self._test_views(resolved))}"
        config = view.config.model_copy(update={"name": name})
        study = self._study
        return PlannedRun(name, arm, config, (weights.name,), weights.name, True, study.score, study.checkpoint)

    def _check(self, config: ExperimentConfig, teacher: PlannedRun | None, arm: str, where: str) -> None:
        """Build the networks of each kind of run once: seeds and lists do not change them."""
        kind = _hash({"run": _kind_of(config), "teacher": _kind_of(teacher.config) if teacher else None})
        if kind in self._checked:
            return
        try:
            check_networks(config, stage=teacher.config if teacher else None)
        except ValueError as error:
            raise ValueError(f"{self._study.name}, {arm} at {where}: {error}") from None
        self._checked.add(kind)


def _kind_of(config: ExperimentConfig) -> dict[str, Any]:
    """The settings on which the networks and their views depend; not which run's weights they start from."""
    resolved = config.resolved()
    data = {key: value for key, value in resolved["data"].items() if key in ("kind", "views", "sampling", "groups")}
    student, teacher = dict(resolved["student"]), dict(resolved["teacher"] or {})
    if teacher.get("stage"):
        teacher["stage"] = None
    if Path(student["weights"]).parent.parent == config.runs:  # of a run of the study
        student["weights"] = None
    return {"data": data, "student": student, "teacher": teacher, "loss": resolved["loss"]}


def _with_needed(wanted: Iterable[str], stages: Mapping[str, ExperimentConfig], study: StudyConfig) -> set[str]:
    """The arms whose runs these need, and themselves: teachers, initial weights, and what a scoring takes."""
    needed: set[str] = set()
    todo = list(wanted)
    while todo:
        arm = todo.pop()
        if arm in needed:
            continue
        needed.add(arm)
        if arm in stages:
            stage = stages[arm]
            sources = (stage.teacher.stage if stage.teacher else None, stage.student.weights)
            todo += [name for source in sources if (name := referred_stage(source)) is not None]
        else:
            todo += [study.also_scored[arm].weights, study.also_scored[arm].view]
    return needed


def _earlier(reference: str | None, earlier: Mapping[str, PlannedRun]) -> PlannedRun | None:
    stage = referred_stage(reference)
    return None if stage is None else earlier[stage]


def _overrides(study: StudyConfig, named: Mapping[str, str]) -> Iterator[str]:
    for axis, value in named.items():
        yield from _as_overrides(study.settings_of(axis, value))
    yield from _as_overrides(study.settings)


def _as_overrides(settings: Mapping[str, Any]) -> Iterator[str]:
    for key, value in settings.items():
        yield f"{key}={json.dumps(value, ensure_ascii=False)}"


def _hash(settings: Mapping[str, Any]) -> str:
    return config_hash(settings)[:_HASH_DIGITS]
