"""Find the evaluated models of an experiment: by the stages of its config, or in the folders of runs."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dali_pipes.file_names import on_one_line
from reskd.experiment.config import ExperimentConfig, load_config, referred_stage
from reskd.experiment.data import data_of
from reskd.reports.experiment.data import Curves, Experiment, Model, Role
from reskd.reports.experiment.scored import SUFFIX
from reskd.reports.run_report import (
    check_comparable,
    describe_views,
    find_result,
    load_result,
    read_metrics,
    with_own_names,
)
from reskd.statistics.score_files import ScoredVideos, read_score_file
from reskd.training.run_directory import RunDirectory

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluatedFile:
    """An evaluation that was just written: its file, and the name of the run that it is of."""

    path: Path
    run: str


def experiment_of_runs(folders: Sequence[Path], *, title: str, views: str | None) -> Experiment:
    """The experiment of runs that have a result on the same list; the last run is the student if none has a teacher.

    Raises:
        FileNotFoundError, ValueError: a run without such a result; results that cannot be compared.
    """
    files = [find_result(folder, views) for folder in folders]
    results = with_own_names([load_result(file) for file in files], folders)
    check_comparable(results)
    configs = [_config_in(folder) for folder in folders]
    roles = roles_of([config for config in configs if config is not None])
    last = {config.name: folder for config, folder in zip(configs, folders, strict=True) if config}
    models = [
        _model(roles[config.name] if config and last[config.name] == folder else "other", file, result, config)
        for folder, file, result, config in zip(folders, files, results, configs, strict=True)
    ]
    return Experiment(title, tuple(models))


def experiment_of_stages(
    stages: Sequence[ExperimentConfig], evaluated: EvaluatedFile, *, title: str, source: str
) -> Experiment:
    """The model that was just evaluated, and those of other stages with a result of the same list and test views.

    Args:
        stages: of one file; a teacher that another file trains is added.
        source: the file, as given on the command line.
    """
    own = load_result(evaluated.path)
    elsewhere = _teachers_elsewhere(stages)
    stages = [*(config for config, _ in elsewhere.values()), *stages]
    roles = roles_of(stages)
    models: list[Model] = []
    left_out: list[str] = []
    todo: dict[str, str] = {}
    for stage in stages:
        is_own = stage.name == evaluated.run
        for which in ("student", "teacher"):
            role: Role = "teacher" if which == "teacher" else roles[stage.name]
            if is_own and own["which"] == which:
                models.append(_model(role, evaluated.path, own, stage))
                continue
            try:
                found = _alike(stage.folder, own, which)
                if found is not None:
                    check_comparable([own, found[1]])
                    models.append(_model(role, *found, stage))
                elif which == "student" and source:
                    _, its_source = elsewhere.get(stage.name, (stage, source))
                    todo |= _command(stage, stages, its_source, own)
            except (OSError, ValueError) as error:
                left_out.append(f"{stage.name} is not compared: {error}")
    training = shlex.join(["reskd", "train", source]) if source else ""
    return Experiment(title, _one_teacher(models, evaluated.path), tuple(left_out), todo, training)


def _one_teacher(models: Sequence[Model], evaluated: Path) -> tuple[Model, ...]:
    """Without teachers of a student's run where the teacher has a run of its own, unless one was just evaluated."""
    has_run = any(model.role == "teacher" and model.result["which"] == "student" for model in models)
    return tuple(
        model
        for model in models
        if model.result["which"] == "student" or not has_run or evaluated.is_relative_to(model.folder)
    )


def roles_of(configs: Sequence[ExperimentConfig]) -> dict[str, Role]:
    """Name of a run -> its role. The student is the last run with a teacher; the baseline sees what the student sees.

    Without a run that has a teacher all are "other".
    """
    roles: dict[str, Role] = {config.name: "other" for config in configs}
    student = next((config for config in reversed(configs) if config.teacher is not None), None)
    if student is None or student.teacher is None:
        return roles
    roles[student.name] = "student"
    teacher = _teacher_name(student)
    if teacher in roles:
        roles[teacher] = "teacher"
    plain = [config for config in configs if config.teacher is None and config.name != teacher]
    plain = [config for config in plain if not _starts_from(config, student)]
    alike = [config for config in plain if _sees(config) == _sees(student)]
    named = [config for config in alike or plain if "baseline" in config.name]
    if baseline := next(iter(named or alike), None):
        roles[baseline.name] = "baseline"
    return roles


def _starts_from(config: ExperimentConfig, student: ExperimentConfig) -> bool:
    """Whether a run goes on with the student's weights, so that it has learned from the teacher too."""
    stage = referred_stage(config.student.weights)
    folder = Path(config.student.weights).parent if stage is None else config.stage_folder(stage)
    return folder == student.folder


def _sees(config: ExperimentConfig) -> tuple[Any, ...]:
    return data_of(config).view_shapes()["student"], getattr(config.student, "backbone", None)


def _teacher_name(student: ExperimentConfig) -> str | None:
    """The name of the run that trains the student's teacher; None if no run of this project does."""
    source = student.teacher.stage if student.teacher else None
    if source is None:
        return None
    stage = referred_stage(source)
    if stage is not None:
        return f"{student.name.rpartition('.')[0]}.{stage}"
    try:
        return load_config(source).name
    except (OSError, ValueError):
        return None


def _teachers_elsewhere(stages: Sequence[ExperimentConfig]) -> dict[str, tuple[ExperimentConfig, str]]:
    """The teachers' stages that other files describe, by their names, with the file of each."""
    found: dict[str, tuple[ExperimentConfig, str]] = {}
    for stage in stages:
        source = stage.teacher.stage if stage.teacher else None
        if source is not None and referred_stage(source) is None:
            try:
                config = load_config(source)
            except (OSError, ValueError) as error:
                log.warning("the report leaves out the teacher: %s", error)
                continue
            config = config.model_copy(update={"runs": stage.runs})
            found[config.name] = config, source
    return {name: one for name, one in found.items() if name not in {stage.name for stage in stages}}


def _config_in(folder: Path) -> ExperimentConfig | None:
    path = RunDirectory(folder).config
    try:
        return load_config(path)
    except (OSError, ValueError) as error:
        log.warning("the report does not know the settings of %s: %s", on_one_line(folder), error)
        return None


def _alike(folder: Path, own: Mapping[str, Any], which: str) -> tuple[Path, dict[str, Any]] | None:
    """The result of a run on the same split, of the same checkpoint and with as many test views, and its file."""
    stem = f"evaluation_{own['split']}_{which}_{Path(own['checkpoint']).stem}"
    for path in [folder / f"{stem}.json", *sorted(folder.glob(f"{stem}_*.json"))]:
        if path.is_file():
            result = load_result(path)
            if describe_views(result) == describe_views(own) and "other" not in result.get("views", {}):
                return path, result
    return None


def _command(
    stage: ExperimentConfig, stages: Sequence[ExperimentConfig], source: str, own: Mapping[str, Any]
) -> dict[str, str]:
    """What is missing of a stage -> the command for it."""
    checkpoint = stage.folder / own["checkpoint"]
    if not checkpoint.is_file():
        is_trained = (stage.folder / "last.pt").is_file()  # another checkpoint was evaluated, which this run lacks
        return {} if is_trained else {f"{stage.name} is not trained yet": shlex.join(["reskd", "train", source])}
    name = stage.name.rpartition(".")[2] if "." in stage.name and sum("." in one.name for one in stages) > 1 else None
    views = own.get("views", {})
    counts = (("clips", views.get("clips", 1)), ("crops", views.get("crops", 1)))
    overrides = [f"data.sampling.test_{key}={value}" for key, value in counts if value != 1]
    command = evaluation_command(source, checkpoint, stage=name, split=own["split"], overrides=overrides)
    return {f"{stage.name} is not evaluated yet": command}


def evaluation_command(
    source: str, checkpoint: Path, *, stage: str | None, split: str, overrides: Sequence[str] = ()
) -> str:
    """The command that evaluates a checkpoint under a config.

    Args:
        source: the config's file.
        stage: name of the file's stage; None where it has none.
    """
    command = ["reskd", "evaluate", source, str(checkpoint)]
    command += ["--stage", stage] if stage else []
    command += ["--split", split] if split != "test" else []
    return shlex.join([*command, *overrides])


def _model(role: Role, file: Path, result: Mapping[str, Any], config: ExperimentConfig | None) -> Model:
    folder = file.parent
    metrics = folder / RunDirectory(folder).metrics.name
    curves = _curves(read_metrics(metrics)) if metrics.is_file() and result.get("which") != "teacher" else {}
    return Model(role, folder, result, _scores(file), curves, config)


def _scores(result: Path) -> ScoredVideos | None:
    """The scores that lie beside a result; None if it is of an earlier version, or its list was too long."""
    path = result.with_suffix(SUFFIX)
    if not path.is_file():
        return None
    try:
        return read_score_file(path)
    except (OSError, ValueError) as error:
        log.warning("the report compares totals alone: %s", error)
        return None


def _curves(lines: Sequence[Mapping[str, float]]) -> Curves:
    names = dict.fromkeys(name for line in lines for name in line)
    return {
        name: tuple((line["train/epoch"], line[name]) for line in lines if name in line and "train/epoch" in line)
        for name in names
        if name != "train/epoch"
    }
