"""The config of a study: a file with the arms, and the axes over which each arm is run.

    config: arms.yaml                        the stages of this file are the arms
    axes:
      seed: [1, 2, 3]                        values of a config's key
      split:                                 or names, each with settings
        first: {data.train: split1_train.txt, data.test: split1_test.txt}
        second: {data.train: split2_train.txt, data.test: split2_test.txt}
    repeat: seed                             each result is the mean and spread over seeds
    pool: split                              the test videos of the splits are scored as one list
    compare:
      - {arm: student, over: baseline}

docs/studies.md explains what a study does with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from dali_pipes.config import GroupPattern
from dali_pipes.strict_config import StrictConfig
from reskd.experiment.config_errors import explain
from reskd.experiment.config_files import ConfigFile, find_config, name_source, read_settings, shown
from reskd.yaml_reading import read_yaml_file

# Key of a config -> value, as in an override.
Settings = dict[str, Any]
_DOTTED = ("settings", "quick.settings")  # of a study


def _named_values(value: object) -> object:
    """Values of a key become names; ``StudyConfig.settings_of`` fills in the key."""
    if isinstance(value, list):
        names = [str(one) for one in value]
        if len(set(names)) < len(names):
            raise ValueError(f"expected values that differ, found {shown(value)}")
        return dict(zip(names, value, strict=True))
    return value


Axis = Annotated[dict[str, Any], Field(min_length=1), BeforeValidator(_named_values)]


def _as_names(value: object) -> object:
    """Values of axes are known by their names: 64 is "64"."""
    return {axis: str(one) for axis, one in value.items()} if isinstance(value, dict) else value


# Axis -> name of one of its values.
Place = Annotated[dict[str, str], BeforeValidator(_as_names)]


class ComparisonConfig(StrictConfig):
    """A paired comparison, at each value of the axes that neither ``at`` nor ``over_at`` names."""

    arm: str = Field(description="the arm whose gain is reported")
    over: str = Field(description="the arm that it is compared with, over the same videos and seeds; may be the same")
    at: Place = Field({}, description="axis -> value at which the arm stands, as size: 64; default: each in turn")
    over_at: Place = Field(
        {}, description="the same for the other arm, as size: 128; default: the value at which the arm stands"
    )

    @property
    def other_place(self) -> Place:
        return {**self.at, **self.over_at}

    def can_be_asked(self, axes: Mapping[str, Axis]) -> bool:
        """Whether its values are left, and another one than that of the other arm where both are the same."""
        is_left = all(name in axes[axis] for place in (self.at, self.over_at) for axis, name in place.items())
        return is_left and (self.arm != self.over or any(len(axes[axis]) > 1 for axis in self.over_at))

    @property
    def question(self) -> str:
        """Such as "student (size 64) over baseline (size 128)"."""
        sides = ((self.arm, self.at), (self.over, self.other_place))
        return " over ".join(
            f"{arm} ({', '.join(f'{axis} {name}' for axis, name in place.items())})" if place else arm
            for arm, place in sides
        )


class RecoveryConfig(StrictConfig):
    """Which share of the distance from ``baseline`` to ``teacher`` the student covers."""

    student: str = Field(description="the arm whose share is reported")
    baseline: str = Field(description="the arm at 0")
    teacher: str = Field(description="the arm at 1")


class ScoredAsConfig(StrictConfig):
    """An arm that is not trained: the weights of one arm, scored on the view of another."""

    weights: str = Field(description="the arm whose trained weights are scored")
    view: str = Field(description="the arm whose data settings apply")


class BarsConfig(StrictConfig):
    """Arms side by side: a bar each, for every metric."""

    title: str = Field("", description="over the bars, as Levels of distillation")
    arms: tuple[str, ...] = Field(min_length=1, description="in the order of their bars")


def _groups_of_bars(value: object) -> object:
    """A plain list of arms is one group."""
    is_plain = isinstance(value, list) and value and all(isinstance(one, str) for one in value)
    return [{"arms": value}] if is_plain else value


Bars = Annotated[tuple[BarsConfig, ...], BeforeValidator(_groups_of_bars)]


class QuickConfig(StrictConfig):
    """The small size of a study, of ``--quick``."""

    axes: dict[str, list[str]] = Field({}, description="for each axis, the names of the values that stay; default: all")
    settings: Settings = Field({}, description="settings of every run, as training.epochs: 1")


class StudyConfig(StrictConfig):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100, description="the study's folder in runs")
    title: str = Field("", description="headline of the report; default: the name")
    config: Path = Field(description="file with the arms as stages, relative to the study's file")
    runs: Path = Field(Path("runs"), description="folder of the study; its runs are in runs/study_runs")
    settings: Settings = Field({}, description="settings of every run, over those of the file")
    arms: tuple[str, ...] = Field((), description="arms that are run, with those that they need; default: all")
    axes: dict[str, Axis] = Field({}, description="each arm is run at every combination of their values")
    repeat: str | None = Field(None, description="the axis of seeds: results are means and spreads over it")
    pool: str | None = Field(None, description="the axis of splits, whose test lists are disjoint and scored as one")
    only: dict[str, dict[str, list[str]]] = Field(
        {}, description="arm -> axis -> names of the values at which it is run; default: all"
    )
    also_scored: dict[str, ScoredAsConfig] = Field({}, description="arms that are scored, but not trained")
    score: Literal["test", "val"] = Field("test", description="the list that is scored; val to choose settings")
    checkpoint: Literal["last", "best"] = Field("last", description="the weights that are scored; best by validation")
    group_pattern: GroupPattern | None = Field(
        None,
        description="regular expression on the scored videos' names; its first group names what several videos show "
        "together, for the intervals of comparisons; for features, whose records say nothing of it; default: the "
        "groups of the lists or of data.group_pattern",
    )
    plot_over: str | None = Field(None, description="the axis of numbers over which charts are drawn, as sizes")
    plot_title: str = Field("", description="words for that axis, as 'short side, pixels'; default: its name")
    bars: Bars = Field((), description="arms shown side by side: a list of names, or groups with title and arms")
    compare: tuple[ComparisonConfig, ...] = Field((), description="paired comparisons of arms")
    recovery: tuple[RecoveryConfig, ...] = Field((), description="shares of a gap that students recover")
    keep: Literal["referred", "all"] = Field(
        "referred", description="whose checkpoints stay: of arms that others start or learn from, or all"
    )
    threads: int = Field(1, ge=1, le=256, description="threads of a run on a CPU; results depend on their number")
    quick: QuickConfig = Field(QuickConfig(), description="what --quick changes")

    @model_validator(mode="after")
    def _axes_are_known(self) -> StudyConfig:
        named = {key: [axis] for key in ("repeat", "pool", "plot_over") if (axis := getattr(self, key)) is not None}
        named["quick.axes"] = list(self.quick.axes)
        named |= {f"only.{arm}": list(axes) for arm, axes in self.only.items()}
        named |= {key: list(place) for key, place in self._places_compared()}
        for key, axes in named.items():
            if unknown := [axis for axis in axes if axis not in self.axes]:
                raise ValueError(f"{key}: expected an axis of this study ({_list(self.axes)}), found {unknown[0]}")
        return self

    @model_validator(mode="after")
    def _values_are_known(self) -> StudyConfig:
        asked = {"quick.axes": self.quick.axes, **{f"only.{arm}": limits for arm, limits in self.only.items()}}
        for number, one in enumerate(self.compare):
            if one.arm == one.over and one.at == one.other_place:
                raise ValueError(f"compare.{number}: expected two sides that differ, found {one.question}")
        for key, place in self._places_compared():
            if together := {self.repeat, self.pool} & place.keys():
                raise ValueError(f"{key}: expected neither repeat nor pool, found {together.pop()}")
            asked[key] = {axis: [name] for axis, name in place.items()}
        for key, limits in asked.items():
            for axis, names in limits.items():
                if unknown := [name for name in names if name not in self.axes[axis]]:
                    expected = f"{_list(self.axes[axis])}, the values of axes.{axis}"
                    raise ValueError(f"{key}.{axis}: expected of {expected}, found {unknown[0]}")
        return self

    @model_validator(mode="after")
    def _axes_have_one_role(self) -> StudyConfig:
        if self.repeat is not None and self.repeat == self.pool:
            raise ValueError(f"repeat and pool: expected two axes, found {self.repeat} for both")
        if self.plot_over is not None:
            if self.plot_over in (self.repeat, self.pool):
                raise ValueError(f"plot_over: expected neither repeat nor pool, found {self.plot_over}")
            for name in self.axes[self.plot_over]:
                _check_number(name)
        return self

    @model_validator(mode="after")
    def _each_setting_is_given_once(self) -> StudyConfig:
        given = dict.fromkeys(self.settings, "settings")
        for axis, values in self.axes.items():
            keys = dict.fromkeys(key for name in values for key in self.settings_of(axis, name))
            for key in keys:
                if other := next((known for known in given if _overlap(known, key)), None):
                    raise ValueError(f"axes.{axis}: sets {key}, and {given[other]} sets {other}: keep one of them")
            given |= dict.fromkeys(keys, f"axes.{axis}")
        return self

    def _places_compared(self) -> Iterator[tuple[str, Place]]:
        for number, one in enumerate(self.compare):
            yield f"compare.{number}.at", one.at
            yield f"compare.{number}.over_at", one.over_at

    @property
    def condition_axes(self) -> list[str]:
        """The axes that are neither repeated nor pooled: results at each of their values are results of their own."""
        return [axis for axis in self.axes if axis not in (self.repeat, self.pool)]

    def settings_of(self, axis: str, name: str) -> Settings:
        """The settings of one value of an axis."""
        found = self.axes[axis][name]
        return found if isinstance(found, dict) else {axis: found}

    def quickened(self) -> StudyConfig:
        """The small size, under another name."""
        axes = {
            axis: {name: values[name] for name in self.quick.axes.get(axis, values)}
            for axis, values in self.axes.items()
        }
        only = {arm: {axis: _kept(names, axes[axis]) for axis, names in of.items()} for arm, of in self.only.items()}
        compare = tuple(one for one in self.compare if one.can_be_asked(axes))
        changed = {"name": f"{self.name}_quick", "axes": axes, "only": only, "compare": compare}
        return self.model_copy(update={**changed, "settings": {**self.settings, **self.quick.settings}})


def load_study(path: Path, overrides: Sequence[str] = ()) -> StudyConfig:
    """Read a study's file, or the one that comes with reskd; its ``config`` becomes a path from the working directory.

    Args:
        overrides: ``key=value`` of the study, as ``settings.training.epochs=1``.

    Raises:
        FileNotFoundError, ValueError: a missing file, an unknown key, a wrong value; names the file and the key.
    """
    path = find_config(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected the YAML file of a study at {path}, found none.")
    tree, lines = read_yaml_file(path)
    if not isinstance(tree, dict):
        raise ValueError(f"{path}: expected the settings of a study, found {shown(tree)}.")
    files = [ConfigFile(path, tree, lines)]
    if overrides:
        given = read_settings(overrides, where=str(path), dotted=_DOTTED)
        files.insert(0, ConfigFile(path, given))
        tree = read_settings(overrides, where=str(path), over=tree, dotted=_DOTTED)
        _fit_quick(tree, given)
    try:
        study = StudyConfig.model_validate(tree)
    except ValidationError as error:
        faults = explain(error, StudyConfig)
        sentences = (f"{name_source(fault.keys, files, where=str(path))}: {fault.sentence}" for fault in faults)
        raise ValueError("\n".join(sentences)) from None
    return study.model_copy(update={"config": path.parent / study.config})


def _fit_quick(tree: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Limit quick.axes to the values that the command line left of an axis; all of them if the file named none."""
    axes, quick = given.get("axes"), tree.get("quick")
    if not isinstance(axes, dict) or not isinstance(quick, dict) or not isinstance(quick.get("axes"), dict):
        return
    asked = given.get("quick", {})
    for axis in axes.keys() & quick["axes"].keys() - asked.get("axes", {}).keys():
        values, names = tree["axes"][axis], quick["axes"][axis]
        if isinstance(values, (list, dict)) and isinstance(names, list):
            quick["axes"][axis] = _kept(list(map(str, names)), list(map(str, values)))


def _check_number(name: str) -> None:
    try:
        float(name)
    except ValueError:
        raise ValueError(f"plot_over: expected an axis whose values are numbers, found {name}") from None


def _overlap(one: str, other: str) -> bool:
    """Whether two dotted keys name the same setting, or one of them a group with the other's."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _kept(names: Sequence[str], values: Iterable[str]) -> list[str]:
    """Those of ``names`` that are still values; all values if none is."""
    return [name for name in names if name in values] or list(values)


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
