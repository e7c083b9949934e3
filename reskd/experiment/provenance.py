"""Checks that the runs a run was made from, its teacher's and that of its initial weights, have not changed since.

If one of them was trained again, no file describes the run's experiment any more. So the run is refused, whether
finished or not.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reskd.experiment.config import ExperimentConfig, parse_config, referred_stage
from reskd.experiment.config_files import merge_files, read_config_files
from reskd.experiment.networks import load_stage
from reskd.experiment.renamed_keys import check_names_are_current
from reskd.models.weights.load import state_hash
from reskd.training.checkpoint import load_checkpoint
from reskd.training.recipes.early_stopping import EarlyStoppingConfig, stopped_early
from reskd.training.run_changes import Change, changed, flatten, read_changes, set_value, why_fixed
from reskd.training.run_directory import RunDirectory, check_same_experiment, is_defining

log = logging.getLogger(__name__)


def is_trained(config: ExperimentConfig) -> bool:
    """Whether the run was trained to its end. Raises ValueError if its folder holds another experiment."""
    path = config.folder / "last.pt"
    if not path.exists():
        return False
    state = load_checkpoint(path)
    check_names_are_current(state["config"], config.resolved(), config.folder)
    _check_same(config, state["config"], config.folder)
    return _is_whole(state)


def _check_same(config: ExperimentConfig, saved: Mapping[str, Any], where: Path) -> None:
    """check_same_experiment, but for the changes that the run has recorded."""
    changes = read_changes(RunDirectory(config.folder).changes)
    check_same_experiment(changed(config.resolved(), changes), changed(saved, changes), where)


def check_folder(config: ExperimentConfig) -> None:
    """Raises ValueError if the folder holds a run of an earlier version, in which a setting had another name."""
    saved = RunDirectory(config.folder).config
    if saved.is_file():
        check_names_are_current(merge_files(read_config_files(saved)), config.resolved(), config.folder)


def as_started(config: ExperimentConfig, asked: Mapping[str, Any]) -> ExperimentConfig:
    """``config`` with the started run's own values of the settings that ``asked`` is to change.

    The run may have been started with a value on the command line, while the file has the one that is asked for.
    """
    run = RunDirectory(config.folder)
    if not asked or not run.config.is_file():
        return config
    changes = read_changes(run.changes)
    tree = changed(config.resolved(), changes)
    mine = dict(flatten(tree))
    saved = dict(flatten(changed(merge_files(read_config_files(run.config)), changes)))
    differing = [key for key in asked if key in mine and key in saved and mine[key] != saved[key]]
    for key in differing:
        set_value(tree, key, saved[key])
    return parse_config(tree, where=config.name) if differing else config


def with_changes(
    config: ExperimentConfig, asked: Mapping[str, Any], *, num_steps: int
) -> tuple[ExperimentConfig, list[Change]]:
    """The config under which a run goes on, and all changes of its settings so far.

    Args:
        asked: settings to change now: key -> value.
        num_steps: of the checkpoint.

    Raises:
        ValueError: a started run cannot change the setting.
    """
    changes = read_changes(RunDirectory(config.folder).changes)
    tree = changed(config.resolved(), changes)
    settings = dict(flatten(tree))
    for key, value in asked.items():
        if key not in settings or settings[key] != value:
            reason = why_fixed(key, settings.get(key), value) if is_defining(key) else None
            if reason is not None:
                raise ValueError(
                    f"--set {key}: expected a setting that a started run can change, but {reason}; start another run "
                    "with name=..., or leave it out."
                )
            set_value(tree, key, value)
            if is_defining(key):
                changes.append(Change(num_steps, key, settings.get(key), value))
                log.info(
                    "%s: %s was %r, and is %r from step %d on", config.name, key, settings.get(key), value, num_steps
                )
    return parse_config(tree, where=config.name), changes


def start_hashes(config: ExperimentConfig) -> dict[str, str] | None:
    """Setting -> hash of the run's weights that a trained network starts from; None if no other run is used.

    A frozen teacher is not among them: it has its own hash.
    """
    found = {
        key: _student_hash(checkpoint) for key, checkpoint in _origins(config).items() if not _is_frozen(config, key)
    }
    return {key: value for key, value in found.items() if value is not None} or None


def check_start(config: ExperimentConfig) -> None:
    """Refuse to start from the weights of an unfinished stage.

    Raises:
        FileNotFoundError, ValueError: its run is missing; it has steps left.
    """
    start = _origins(config).get("student.weights")
    if start is None:
        return
    where = f"{config.name}: expected {config.student.weights}, whose weights it starts from, trained to its end,"
    if not start.is_file():
        raise FileNotFoundError(
            f"{where} found no {start}; run reskd train on the file with the stages, which trains it first."
        )
    state = load_checkpoint(start)
    if not _is_whole(state):
        raise ValueError(
            f"{where} found it at step {state['num_steps']} of {state['total_steps']}; resume it first: "
            f"reskd train {start.with_name('config.yaml')}"
        )


def check_started(config: ExperimentConfig, checkpoint: Path) -> None:
    """Refuse to resume a checkpoint, or to count it as done, if the weights that it was made from have changed.

    Raises:
        FileNotFoundError, ValueError: as load_checkpoint and check_same_experiment; the run of the teacher or of the
            initial weights was trained again since, or is missing or not finished.
    """
    state = load_checkpoint(checkpoint)
    check_names_are_current(state["config"], config.resolved(), checkpoint)
    _check_same(config, state["config"], checkpoint)
    for key, origin in _origins(config).items():
        is_frozen = _is_frozen(config, key)
        recorded = state.get("teacher_hash") if is_frozen else (state.get("start_hashes") or {}).get(key)
        now = _student_hash(origin, prefix="model." if is_frozen else "")
        if now != recorded:
            found = "is missing or not finished" if now is None else "holds other weights now"
            raise ValueError(
                f"{checkpoint} was made from {origin.parent} ({key}), which {found}; expected the weights that it was "
                f"made from. Delete {config.folder} to train {config.name} again, pass --overwrite to train all "
                "again, or choose another name=...."
            )


def _origins(config: ExperimentConfig) -> dict[str, Path]:
    """Setting -> the checkpoint that it names, of another run."""
    found = {}
    start = referred_stage(config.student.weights)
    if start is not None:
        found["student.weights"] = config.stage_folder(start) / "last.pt"
    if config.teacher and config.teacher.stage:
        stage = referred_stage(config.teacher.stage)
        # A stage's own config.yaml may be missing: not written yet, or deleted.
        folder = load_stage(config).folder if stage is None else config.stage_folder(stage)
        found["teacher.stage"] = folder / f"{config.teacher.checkpoint}.pt"
    return found


def _is_frozen(config: ExperimentConfig, key: str) -> bool:
    return key == "teacher.stage" and config.teacher is not None and config.teacher.update == "frozen"


def _student_hash(checkpoint: Path, prefix: str = "") -> str | None:
    """The hash of the student in a run's checkpoint; None if it is missing, or the run is not finished.

    Args:
        prefix: put before each weight's name, as in a module that holds the student: a Teacher calls it ``model``.
    """
    last = checkpoint.with_name("last.pt")
    if not (last.is_file() and checkpoint.is_file()):
        return None
    state = load_checkpoint(last)
    if not _is_whole(state):
        return None
    state = state if checkpoint == last else load_checkpoint(checkpoint)
    return state_hash({f"{prefix}{name}": value for name, value in state["student"].items()})


def _is_whole(state: dict[str, Any]) -> bool:
    config = state["config"].get("training", {}).get("early_stopping")
    stopping = None if config is None else EarlyStoppingConfig.model_validate(config)
    return bool(state["num_steps"] >= state["total_steps"]) or stopped_early(state, stopping)
