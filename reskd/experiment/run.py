"""Whole runs: train an experiment, or evaluate a checkpoint on a list."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from torch import Tensor
from torch.nn.functional import one_hot

from dali_pipes.atomic_files import remove_leftovers
from dali_pipes.manifest.manifest import Manifest
from reskd.choices import ScoreKind
from reskd.distributed import World, barrier
from reskd.environment import describe_environment
from reskd.evaluation.evaluator import Evaluation, EvaluationSettings, evaluate
from reskd.evaluation.temperature import fit_temperature
from reskd.experiment.build import build_trainer, evaluation_loader, evaluation_order, evaluation_settings
from reskd.experiment.config import ExperimentConfig, ViewName, parse_config
from reskd.experiment.data import AnyManifest, data_of
from reskd.experiment.lists import build_manifests
from reskd.experiment.networks import build_evaluated_model, check_networks, load_stage, view_shapes
from reskd.experiment.protocol import describe_protocol
from reskd.experiment.provenance import as_started, check_folder, check_start, check_started, is_trained, with_changes
from reskd.models.recognizer import Recognizer
from reskd.outputs import probabilities
from reskd.profiling.flops import count_macs
from reskd.profiling.throughput import measure_clips_per_second
from reskd.reports.answers import Answers
from reskd.reports.run_report import write_run_report
from reskd.training.checkpoint import load_checkpoint
from reskd.training.run_changes import Change
from reskd.training.run_directory import (
    RunDirectory,
    config_hash,
    open_run_directory,
    with_former_settings,
    write_description,
)
from reskd.training.run_lock import RunLock, held_by_all
from reskd.training.trainer import Trainer

log = logging.getLogger(__name__)

OnLog = Callable[[str, int, int, Mapping[str, float]], None]


def train_experiment(
    config: ExperimentConfig,
    *,
    world: World,
    resume: str = "auto",
    overwrite: bool = False,
    report: bool = True,
    on_log: OnLog | None = None,
    asked: Mapping[str, Any] = MappingProxyType({}),
) -> RunDirectory:
    """Train the teacher's stage, if there is an unfinished one, then the student. Returns the student's run.

    Settings that an earlier start changed by --set stay changed: see reskd/training/run_changes.py.

    Args:
        resume: ``auto``, ``last``, ``none`` or a checkpoint's path; a teacher's stage is always resumed.
        overwrite: delete an earlier run of the same name.
        report: draw the curves at the end, which takes two seconds.
        on_log: gets (run name, steps done, total steps, metrics) at each logged step.
        asked: settings to change in the started run: key -> value, as ``asked_settings`` returns them.

    Raises:
        ValueError, FileNotFoundError: anything wrong with config, data or weights; nothing was written then.
        OSError: another run is in the folder; a full disk.
        FloatingPointError: the run diverges.
    """
    config = config if overwrite else as_started(config, asked)
    check_networks(config)
    if world.is_main:
        _tell_of_endless_warmup(config)
    if not overwrite:
        check_folder(config)
    open_folder = partial(open_run_directory, config.folder, config.resolved(), resume=resume, overwrite=overwrite)
    open_folder()  # refuses before anything is written
    with held_by_all(config.folder, world) as lock:
        run, checkpoint = open_folder()
        if checkpoint:
            check_started(config, checkpoint)
        check_start(config)
        _train_teacher(config, world, on_log)
        state = load_checkpoint(checkpoint) if checkpoint else {}
        config, changes = with_changes(config, {} if overwrite else asked, num_steps=state.get("num_steps", 0))
        trainer = build_trainer(config, run=run, world=world, changes=changes)
        if checkpoint:
            trainer.load_state(state)
            log.info("resuming from %s, step %d of %d", checkpoint, trainer.num_steps, trainer.plan.total_steps)
        del state
        if world.is_main:
            remove_leftovers(run.path, of_any_machine=run.written_by_training())
            write_description(run, config.resolved(), describe_environment(), overwrite=overwrite, changes=changes)
            data_of(config).write_splits(run.splits, seed=config.seed)
            trainer.before_save = partial(_ensure_description, run, lock, config, changes)
        barrier(world)
        _fit(trainer, config, on_log)
        if world.is_main and report:
            write_run_report(run)
        barrier(world)
    return run


def _fit(trainer: Trainer, config: ExperimentConfig, on_log: OnLog | None) -> None:
    """Train to the end. Where --set ends the run at the step at which it stands, its checkpoint is made to say so."""
    total_steps, num_steps = trainer.plan.total_steps, trainer.num_steps
    trainer.fit((lambda step, values: on_log(config.name, step, total_steps, values)) if on_log else None)
    if 0 < num_steps == trainer.num_steps and not is_trained(config):
        trainer.save()


def _tell_of_endless_warmup(config: ExperimentConfig) -> None:
    warmup, epochs = config.schedule.warmup_epochs, config.training.epochs
    if warmup >= epochs:
        log.warning(
            "schedule.warmup_epochs=%g is not below training.epochs=%g: the learning rate never reaches its peak",
            warmup,
            epochs,
        )


def _train_teacher(config: ExperimentConfig, world: World, on_log: OnLog | None) -> None:
    """Train the teacher's stage, if there is an unfinished one."""
    if config.teacher and config.teacher.stage:
        stage = load_stage(config)
        if not is_trained(stage):
            log.info("the teacher comes first: %s", stage.name)
            train_experiment(stage, world=world, on_log=on_log)


def _ensure_description(run: RunDirectory, lock: RunLock, config: ExperimentConfig, changes: Sequence[Change]) -> None:
    """Before a save: hold the folder, and describe the run anew if its files were deleted."""
    lock.ensure()
    if not run.config.exists():
        log.warning("%s was deleted while the run goes on; it is written anew, without the metrics so far.", run.path)
        write_description(run, config.resolved(), describe_environment(), overwrite=False, changes=changes)


class ScoredCheckpoint(NamedTuple):
    """What ``score_checkpoint`` finds.

    Attributes:
        result: the metrics, protocol and cost, as reskd evaluate writes them.
        evaluation: the scores of each video; its ``ids_N`` are rows of the manifest.
        manifest: the list that was scored.
        scores: the kind of scores that the logits were trained for.
    """

    result: dict[str, Any]
    evaluation: Evaluation
    manifest: AnyManifest
    scores: ScoreKind

    def name(self, row: int) -> str:
        """The name of a row of the manifest in its list."""
        return self.manifest.path(row) if isinstance(self.manifest, Manifest) else self.manifest.name(row)

    @property
    def unscored(self) -> dict[str, str]:
        """Names of listed videos without a score -> the reason."""
        unread = sorted({*range(len(self.manifest))} - {*self.evaluation.ids_N.tolist()})
        reason = "a clip of it could not be read"
        return {**dict(self.manifest.dropped), **{self.name(row): reason for row in unread}}


def score_checkpoint(
    config: ExperimentConfig,
    checkpoint: Path,
    *,
    world: World,
    split: Literal["test", "val"] = "test",
    which: ViewName = "student",
    batch_size: int = 16,
) -> ScoredCheckpoint:
    """Score one model of an experiment on a list, and describe the protocol. Every rank gets the same result.

    Args:
        config: the experiment under which to evaluate; its student or teacher must have the checkpoint's architecture.
        checkpoint: of the student's run; a frozen teacher's weights come from the source that the config names.
        which: the student at the student's view, or the teacher at the teacher's.
        batch_size: clips per rank in one forward pass; a video has ``test_clips`` x ``test_crops`` clips.
    """
    state = load_checkpoint(checkpoint)
    manifests = build_manifests(config, world=world, splits=(split,))
    if split not in manifests:
        raise ValueError(
            f"--split {split}: expected videos of this split, found none; set "
            f"{_SPLIT_SETTINGS[config.data.kind, split]}, as in training, or score the other split."
        )
    manifest = manifests[split]
    settings = evaluation_settings(config, which, world=world)
    _check_classes(manifest, state, checkpoint)
    model = build_evaluated_model(config, state, which=which, source=str(checkpoint), device=world.device).eval()
    num_clips = len(manifest) * data_of(config).test_views("test").num_test_views
    batch_size = min(batch_size, -(-num_clips // world.size))  # more would be padding
    order = evaluation_order(config, "test", batch_size, world)
    with closing(evaluation_loader(config, manifest, order, split=split, which=which, world=world)) as loader:
        log.info(loader.describe_reading())
        evaluation = evaluate(model, loader, settings, world=world)
    result = {
        "name": config.name,
        "which": which,
        "split": split,
        "checkpoint": checkpoint.name,
        **_describe_state(config, state),
        "manifest_hash": manifest.content_hash,
        **_describe_views(config, state, which, settings),
        "coverage": {"listed": manifest.num_listed, "scored": evaluation.num_scored, "named": list(manifest.dropped)},
        "metrics": evaluation.metrics,
        **_temperature_of(evaluation, split, settings.scores),
        "seconds": evaluation.seconds,
        **_measure_cost(model, config, which, settings, batch_size),
        "environment": describe_environment(),
    }
    return ScoredCheckpoint(result, evaluation, manifest, settings.scores)


def _temperature_of(evaluation: Evaluation, split: str, scores: ScoreKind) -> dict[str, Any]:
    """The best temperature on a validation list; none is chosen on a test list, or where its scores are not kept."""
    if split != "val" or evaluation.logits_NK is None:
        return {}
    found = fit_temperature(evaluation.logits_NK, _label_sets_of(evaluation), scores)
    return {"temperature": found._asdict() if found else None}


def _label_sets_of(evaluation: Evaluation) -> Tensor:
    """bool (N, K), of a list whose scores are kept."""
    assert evaluation.logits_NK is not None
    if evaluation.label_sets_NK is not None:
        return evaluation.label_sets_NK
    return one_hot(evaluation.labels_N, evaluation.logits_NK.shape[1]).bool()


def answers_of(scored: ScoredCheckpoint) -> Answers | None:
    """The scores of each video of a list; None where the list was too long to keep them."""
    evaluation, manifest = scored.evaluation, scored.manifest
    if evaluation.logits_NK is None:
        return None
    logits_NK = evaluation.logits_NK.float()
    return Answers(
        videos=[scored.name(row) for row in evaluation.ids_N.tolist()],
        class_names=manifest.class_names,
        scores_NK=probabilities(logits_NK, scored.scores).numpy(),
        right_NK=_label_sets_of(evaluation).numpy(),
        num_views=math.prod(scored.result["views"][key] for key in ("clips", "crops")),
        unscored=scored.unscored,
    )


# Settings that give a split its videos, by the kind of data.
_SPLIT_SETTINGS = {
    ("clips", "val"): "data.val_fraction above 0 or data.val_pattern",
    ("clips", "test"): "data.test, or data.test_fraction above 0",
    ("features", "val"): "data.val, or data.val_fraction above 0",
    ("features", "test"): "data.test",
}


def _check_classes(manifest: AnyManifest, state: Mapping[str, Any], checkpoint: Path) -> None:
    if list(manifest.class_names) != state["class_names"]:
        raise ValueError(
            f"{checkpoint} has the classes {state['class_names'][:3]}..., the lists have "
            f"{list(manifest.class_names)[:3]}...; expected the same, in the same order."
        )


def _describe_state(config: ExperimentConfig, state: Mapping[str, Any]) -> dict[str, Any]:
    """The checkpoint's training steps, and the hashes of the evaluation's and the training's configs."""
    return {
        "num_steps": state["num_steps"],
        "config_hash": config_hash(config.resolved()),
        "trained_under": state["config_hash"],
    }


def _describe_views(
    config: ExperimentConfig, state: Mapping[str, Any], which: ViewName, settings: EvaluationSettings
) -> dict[str, Any]:
    """The test protocol, in words and as values; "other": a hash of it, if frames or views are not the training's."""
    test_views = data_of(config).test_views("test")
    views: dict[str, Any] = {
        "clips": test_views.num_temporal_clips,
        "crops": test_views.num_crops,
        "average": settings.average,
    }
    protocol = describe_protocol(config, which, settings.precision.choice)
    trained = parse_config(with_former_settings(state["config"]))
    if trained.data.kind == config.data.kind == "clips":
        now = config.clips.sampling
        update = {key: getattr(now, key) for key in ("test_clips", "test_crops", "average_views")}
        sampling = trained.clips.sampling.model_copy(update=update)
        trained = trained.model_copy(update={"data": trained.clips.model_copy(update={"sampling": sampling})})
    if describe_protocol(trained, which, settings.precision.choice) != protocol:
        views["other"] = hashlib.sha256(protocol.encode()).hexdigest()[:6]
    return {"protocol": f"{protocol}, {settings.scores} scores", "views": views}


def _measure_cost(
    model: Recognizer, config: ExperimentConfig, which: ViewName, settings: EvaluationSettings, batch_size: int
) -> dict[str, Any]:
    """The cost of one video with all its test views, the network's parameters and the shape of its input."""
    shape, num_test_views = view_shapes(config)[which], data_of(config).test_views("test").num_test_views
    clips_per_second = measure_clips_per_second(model, shape, settings.precision, batch_size=batch_size)
    return {
        "gmacs_per_video": count_macs(model, shape, num_test_views=num_test_views).total / 1e9,
        "videos_per_second": clips_per_second / num_test_views,
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "input_shape": list(shape),
    }
