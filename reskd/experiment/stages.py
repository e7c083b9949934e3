"""Several runs from one file: each of its ``stages`` changes some common settings; they run one after another.

    name: hrnn
    data: {...}                              common settings of all stages
    stages:
      - name: teacher                        runs/hrnn.teacher
      - name: student                        runs/hrnn.student
        teacher: {stage: "stage:teacher", batch_norm: running_stats}
        loss: {embedding: {alpha: 1}, prediction: {alpha: 1}}
      - name: finetuned                      the task alone, from the student's last.pt
        student: {weights: "stage:student"}

A stage's changes are merged over the common settings: Note [How settings are merged] in config_files.py. Changes of
earlier stages do not carry over.

Note [Settings before torch]
Importing torch takes seconds, or many on a busy machine. So whatever reads a config imports none of it: a wrong path or
key shows at once. What builds networks is imported in the functions that need it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dali_pipes.fault_log import saying_once
from reskd.experiment.config import ExperimentConfig, ViewName, load_config, parse_config, referred_stage
from reskd.experiment.config_files import (
    ConfigFile,
    apply_override,
    merge,
    merge_files,
    name_source,
    read_config_files,
    read_settings,
    shown,
    split_override,
)
from reskd.models.config import difference
from reskd.training.run_changes import flatten

if TYPE_CHECKING:
    from reskd.distributed import World
    from reskd.experiment.run import OnLog
    from reskd.training.run_directory import RunDirectory

log = logging.getLogger(__name__)

# One process of one machine runs all stages, and one file describes them.
_COMMON_ONLY = ("runs", "device", "base")


def load_stages(source: Path | str | Mapping[str, Any], overrides: Sequence[str] = ()) -> list[ExperimentConfig]:
    """The experiments of a YAML file in the order of its stages; a single one if it has no stages.

    Args:
        source: the file, or what it would hold.
        overrides: ``key.sub=value`` for the common settings, ``stages.NAME.key.sub=value`` for one stage's.

    Raises:
        FileNotFoundError, ValueError: as load_config; stages without a name or with the same name; references to
            stages that are not earlier; an override that a stage's own setting would undo.
    """
    files = read_config_files(source)
    path, common = files[0].path, merge_files(files)
    if "stages" not in common:
        return [load_config(source, overrides)]
    changes = _changes(common.pop("stages"), name_source(["stages"], files, where=str(path)))
    own = [".".join(split_override(one)[0]) for one in overrides if one.startswith("stages.")]
    for override in overrides:
        _override(common, changes, override, own)
    of_stages = next(file for file in files if "stages" in file.settings)
    configs: list[ExperimentConfig] = []
    for number, (name, changed) in enumerate(changes.items()):
        tree = merge(common, changed) | ({"name": f"{common['name']}.{name}"} if "name" in common else {})
        lines = {keys[2:]: line for keys, line in of_stages.lines.items() if keys[:2] == ("stages", str(number))}
        stage_file = ConfigFile(of_stages.path, changed, lines)
        sources = [*_command_line(files[0].path, overrides, name), stage_file, *files]
        config = parse_config(tree, where=f"{path}: stage {name}", files=sources)
        _check_references(config, configs, where=f"{path}: stage {name}")
        configs.append(config)
    return configs


def asked_settings(path: Path | str, overrides: Sequence[str], settings: Sequence[str]) -> list[dict[str, Any]]:
    """For each experiment of the file, the settings that --set asks to change in its started run: key -> value.

    Args:
        overrides: as ``load_stages``.
        settings: of the same form; one without a stage is for each stage that is not done.

    Raises:
        ValueError: as load_stages, for ``settings``.
    """
    asked = []
    for config in load_stages(path, [*overrides, *settings]) if settings else load_stages(path, overrides):
        keys = [".".join(split_override(one)[0]) for one in settings]
        of_stage = f"stages.{config.name.rpartition('.')[2]}."
        mine = [key.removeprefix(of_stage) for key in keys if key.startswith(of_stage) or not key.startswith("stages.")]
        flat = dict(flatten(config.resolved()))
        asked.append({key: flat[key] for key in flat if any(f"{key}.".startswith(f"{one}.") for one in mine)})
    return asked


def choose_stage(configs: Sequence[ExperimentConfig], name: str | None) -> ExperimentConfig:
    """The stage called ``name``; None means a single experiment. Raises ValueError if there is no such stage."""
    names = [config.name.rpartition(".")[2] for config in configs]
    if name is None and len(configs) == 1:
        return configs[0]
    if name not in names:
        found = "none" if name is None else repr(name)
        raise ValueError(f"--stage: expected one of the file's stages ({', '.join(names)}), found {found}.")
    return configs[names.index(name)]


def check_data_paths(configs: Sequence[ExperimentConfig]) -> None:
    """Refuse a root or a list that is not there, before anything is imported to read it. Shards may lie elsewhere.

    Args:
        configs: those that are started already are left out: they may need no data any more.

    Raises:
        FileNotFoundError: names the setting, its value and the stage.
    """
    for config in configs:
        data = config.data
        if (data.kind == "clips" and data.storage.kind == "shards") or (config.folder / "last.pt").exists():
            continue
        where = f"stage {config.name.rpartition('.')[2]}: " if len(configs) > 1 else ""
        if not data.root.is_dir():
            what = "a file" if data.root.exists() else "nothing"
            raise FileNotFoundError(f"{where}data.root: expected a folder, found {what} at {data.root}.")
        for key in ("train", "test", "classes") if data.kind == "clips" else ():
            name = getattr(data, key)
            # "Folders" is answered where lists are read.
            if isinstance(name, Path) and str(name).lower() != "folders" and not (data.root / name).exists():
                raise FileNotFoundError(
                    f"{where}data.{key}: expected a list at {data.root / name}, found no file; correct it, or "
                    "data.root, to which it is relative."
                )


def check_stages(configs: Sequence[ExperimentConfig]) -> None:
    """Check all networks and losses before the first stage is trained.

    Raises:
        ValueError: as check_networks, or a stage that starts from weights of another architecture. Of several stages
            the sentence begins with the one whose settings it names.
    """
    from reskd.experiment.networks import check_networks

    for config in configs:
        try:
            check_networks(config, stage=teacher_stage(config, configs))
        except ValueError as error:
            if len(configs) == 1:
                raise
            raise ValueError(f"stage {config.name.rpartition('.')[2]}: {error}") from error
        start = _referred(config, config.student.weights, configs)
        found = difference(config.student, start.student.model_dump(mode="json")) if start else None
        if start and found:
            key, mine, theirs = found
            raise ValueError(
                f"{config.name}: student.{key} is {mine!r}, but {start.name}, whose weights it starts from, has "
                f"{theirs!r}; expected the same."
            )


def teacher_stage(config: ExperimentConfig, configs: Sequence[ExperimentConfig]) -> ExperimentConfig | None:
    """The one of ``configs`` that trains the teacher of ``config``; None if it is not in this file."""
    return _referred(config, config.teacher.stage, configs) if config.teacher else None


def role_of(config: ExperimentConfig, configs: Sequence[ExperimentConfig], which: ViewName) -> str:
    """What to call a network of one of ``configs``: "teacher" if it is another's, "model" if nothing says what it is.

    Args:
        which: what the settings call it; they call the network that a run trains "student", also where it is to teach.
    """
    if which == "student" and any(teacher_stage(other, configs) is config for other in configs):
        return "teacher"
    return "model" if which == "student" and config.teacher is None else which


def _referred(
    config: ExperimentConfig, reference: str | None, configs: Sequence[ExperimentConfig]
) -> ExperimentConfig | None:
    stage = referred_stage(reference)
    if stage is None:
        return None
    return next((other for other in configs if other.folder == config.stage_folder(stage)), None)


@saying_once()
def train_stages(
    configs: Sequence[ExperimentConfig],
    *,
    world: World,
    resume: str = "auto",
    overwrite: bool = False,
    on_log: OnLog | None = None,
    asked: Sequence[Mapping[str, Any]] = (),
) -> list[RunDirectory]:
    """Train the stages in order, each in its own folder; finished stages are skipped.

    Args:
        resume, overwrite, on_log: as train_experiment; all stages are overwritten, and a checkpoint's path is for a
            single experiment.
        asked: for each config, the settings to change in its started run; stages that are done keep theirs.

    Raises:
        ValueError, FileNotFoundError: as train_experiment. All stages' networks, and the origins of finished or started
            stages, are checked before the first one is trained.
    """
    from reskd.experiment.provenance import as_started, check_started, is_trained
    from reskd.experiment.run import train_experiment
    from reskd.training.run_directory import RunDirectory

    if len(configs) > 1 and resume not in ("auto", "last", "none"):
        raise ValueError(f"--resume: expected auto, last or none for a file of several stages, found {resume}.")
    if len(configs) > 1 and resume == "last":
        resume = "auto"  # stages that have not begun have no checkpoint
    if overwrite and any(asked):
        raise ValueError("--set changes a started run, which --overwrite deletes; give the setting without --set.")
    if not overwrite:
        configs = [as_started(config, mine) for config, mine in zip(configs, asked or [{}] * len(configs), strict=True)]
    if len(configs) > 1:
        check_stages(configs)  # one alone is checked by train_experiment
        for config in configs if resume == "auto" and not overwrite else ():
            if (config.folder / "last.pt").exists():
                check_started(config, config.folder / "last.pt")
    runs = []
    for config, changes in zip(configs, asked or [{}] * len(configs), strict=True):
        if len(configs) > 1 and resume == "auto" and not overwrite and is_trained(config):
            log.info("%s is done%s", config.name, "; --set does not change it" if changes else "")
            runs.append(RunDirectory(config.folder))
            continue
        if len(configs) > 1:
            log.info("stage %d of %d: %s", len(runs) + 1, len(configs), config.name)
        run = train_experiment(config, world=world, resume=resume, overwrite=overwrite, on_log=on_log, asked=changes)
        runs.append(run)
    return runs


def _changes(stages: Any, where: str) -> dict[str, dict[str, Any]]:
    """Name of a stage -> its changes."""
    if not isinstance(stages, list) or not stages or not all(isinstance(stage, dict) for stage in stages):
        raise ValueError(f"{where}: stages: expected a list of groups of settings, found {shown(stages)}.")
    found: dict[str, dict[str, Any]] = {}
    for stage in stages:
        name = stage.get("name")
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", name) or name in found:
            raise ValueError(
                f"{where}: stages: expected a name of letters, digits, _ and - for each, none twice, found "
                f"{shown(name)}."
            )
        if fixed := [key for key in _COMMON_ONLY if key in stage]:
            raise ValueError(f"{where}: stage {name}: {fixed[0]} must be the same for all; set it in the common part.")
        found[name] = {key: value for key, value in stage.items() if key != "name"}
    return found


def _override(
    common: dict[str, Any], changes: Mapping[str, dict[str, Any]], override: str, of_stages: Sequence[str]
) -> None:
    """Apply an override. ``of_stages``: the keys of all overrides of one stage, as stages.NAME.key."""
    keys, _ = split_override(override)
    if keys[0] == "stages":
        if len(keys) < 3 or keys[1] not in changes:
            raise ValueError(
                f"override {shown(override)}: expected stages.NAME.key=value with one of {', '.join(changes)} as NAME."
            )
        apply_override(changes[keys[1]], override.partition(f"{keys[1]}.")[2])
        return
    setting = {name: found for name, changed in changes.items() if (found := _own_setting(changed, keys))}
    asked = ".".join(keys)
    setting = {name: key for name, key in setting.items() if f"stages.{name}.{asked}" not in of_stages}
    if setting:
        own = ", ".join(f"{key} in stage {name}" for name, key in setting.items())
        # The group that the override names, or the value above it.
        instead = " and ".join(f"stages.{name}.{min(key, asked, key=len)}=..." for name, key in setting.items())
        others = [name for name in changes if name not in setting]
        also = f"; for {' and '.join(others)} keep {shown(override)} beside it" if others else ""
        raise ValueError(
            f"override {shown(override)} would not change what stages set themselves ({own}); use {instead}{also}"
        )
    apply_override(common, override)


def _command_line(path: Path, overrides: Sequence[str], stage: str) -> list[ConfigFile]:
    """The overrides of one stage and of all stages, each as settings of the file ``path``."""
    of_stage = [one.partition(f"stages.{stage}.")[2] for one in overrides if one.startswith(f"stages.{stage}.")]
    of_all = [one for one in overrides if not one.startswith("stages.")]
    return [ConfigFile(path, read_settings(some, where=str(path))) for some in (of_stage, of_all)]


def _own_setting(changed: Any, keys: Sequence[str], above: str = "") -> str | None:
    """The key of a stage's own setting at ``keys``, above or below. null does not count: it removes a setting."""
    if changed is None:
        return None
    if not isinstance(changed, dict) or not (keys or changed):
        return above
    below = {key: value for key, value in changed.items() if not keys or key == keys[0]}
    found = (_own_setting(value, keys[1:], f"{above}.{key}".lstrip(".")) for key, value in below.items())
    return next((key for key in found if key is not None), None)


def _check_references(config: ExperimentConfig, earlier: Sequence[ExperimentConfig], *, where: str) -> None:
    references = {"student.weights": config.student.weights}
    if config.teacher and config.teacher.stage:
        references["teacher.stage"] = config.teacher.stage
    folders = [stage.folder for stage in earlier]
    for key, reference in references.items():
        stage = referred_stage(reference)
        if stage is not None and config.stage_folder(stage) not in folders:
            known = ", ".join(stage.name.rpartition(".")[2] for stage in earlier) or "none"
            raise ValueError(f"{where}: {key}: expected an earlier stage ({known}), found {reference}.")
