"""Whole runs: train an experiment from videos to a student, evaluate a checkpoint on a list."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from dali_pipes.features.config import FeatureDataConfig
from reskd.atomic_files import write_whole
from reskd.distributed import World, barrier
from reskd.environment import describe_environment
from reskd.evaluation.evaluator import evaluate
from reskd.experiment.build import build_data, build_eval_loader, build_trainer, shown_views
from reskd.experiment.config import ExperimentConfig
from reskd.experiment.networks import (
    ViewName,
    build_evaluated_model,
    check_networks,
    load_stage,
    scores_of,
    view_shapes,
)
from reskd.experiment.provenance import check_start, check_started, is_trained
from reskd.profiling.flops import count_macs
from reskd.profiling.throughput import measure_clips_per_second
from reskd.reports.run_report import write_run_report
from reskd.training.checkpoint import load_checkpoint
from reskd.training.precision import Precision
from reskd.training.run_directory import RunDirectory, config_hash, open_run_directory, write_description

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
) -> RunDirectory:
    """Train the teacher's stage if there is one and it is not done, then the student. Returns the student's run.

    Args:
        resume: ``auto``, ``none`` or a checkpoint's path; a teacher's stage always goes on from where it is.
        overwrite: delete an earlier run of the same name.
        report: draw the curves at the end, which takes two seconds.
        on_log: gets (run name, steps done, steps in all, metrics) at each logged step.

    Raises:
        ValueError, FileNotFoundError: anything wrong with config, data or weights; nothing was written then.
    """
    check_networks(config)
    run, checkpoint = open_run_directory(config.folder, config.resolved(), resume=resume, overwrite=overwrite)
    if checkpoint:
        check_started(config, checkpoint)
    check_start(config)
    if config.teacher and config.teacher.stage:
        stage = load_stage(config)
        if not is_trained(stage):
            log.info("the teacher comes first: %s", stage.name)
            train_experiment(stage, world=world, on_log=on_log)
    trainer = build_trainer(config, run=run, world=world)
    if checkpoint:
        trainer.load_state(load_checkpoint(checkpoint))
        log.info("going on from %s, step %d of %d", checkpoint, trainer.num_steps, trainer.plan.total_steps)
    if world.is_main:
        write_description(run, config.resolved(), describe_environment(), overwrite=overwrite)
    barrier(world)
    trainer.fit((lambda step, values: on_log(config.name, step, trainer.plan.total_steps, values)) if on_log else None)
    if world.is_main and report:
        write_run_report(run)
    barrier(world)
    return run


def evaluate_checkpoint(
    config: ExperimentConfig,
    checkpoint: Path,
    *,
    world: World,
    split: Literal["test", "val"] = "test",
    which: ViewName = "student",
    batch_size: int = 16,
) -> dict[str, Any]:
    """Score one model of an experiment on a list, and say by which protocol. Every rank gets the same result.

    Args:
        config: the experiment under which to evaluate; its student or teacher must have the checkpoint's architecture.
        checkpoint: of the student's run; the teacher's weights come from where the config says.
        which: the student at the student's view, or the teacher at the teacher's.
        batch_size: clips a rank runs at once; a video is ``test_clips`` x ``test_crops`` of them.
    """
    state = load_checkpoint(checkpoint)
    manifest = build_data(config, world=world, splits=(split,))[split]
    scores = scores_of(config, which)
    if list(manifest.class_names) != state["class_names"]:
        raise ValueError(
            f"{checkpoint} knows the classes {state['class_names'][:3]}..., the lists have "
            f"{list(manifest.class_names)[:3]}...; expected the same, in the same order."
        )
    model = build_evaluated_model(config, state, which=which, source=str(checkpoint), device=world.device).eval()
    shape = view_shapes(config)[which]
    grid, average = shown_views(config, "test")
    loader = build_eval_loader(config, manifest, split=split, view=which, batch_size=batch_size, world=world, grid=grid)
    precision = Precision(config.training.precision, world.device)
    try:
        log.info(loader.describe_ways_in())
        result = evaluate(
            model,
            loader,
            view=which,
            world=world,
            precision=precision,
            average=average,
            scores=scores,
        )
    finally:
        loader.close()
    return {
        "name": config.name,
        "which": which,
        "split": split,
        "checkpoint": checkpoint.name,
        "num_steps": state["num_steps"],
        "config_hash": config_hash(config.resolved()),
        "trained_under": state["config_hash"],
        "manifest_hash": manifest.content_hash,
        "protocol": f"{describe_protocol(config, which)}, {scores} scores",
        "views": {"clips": grid.num_clips, "crops": grid.num_crops, "average": average},
        "coverage": {"listed": manifest.num_listed, "scored": result.num_scored, "named": list(manifest.dropped)},
        "metrics": result.metrics,
        "seconds": result.seconds,
        "gmacs_per_video": count_macs(model, shape, num_views=grid.num_views).total / 1e9,
        "videos_per_second": measure_clips_per_second(model, shape, precision, batch_size=batch_size) / grid.num_views,
        "environment": describe_environment(),
    }


def describe_protocol(config: ExperimentConfig, which: ViewName) -> str:
    """How evaluate.py shows a video, in one sentence."""
    if isinstance(config.data, FeatureDataConfig):
        return f"{_describe_features(config.data, which)}, {config.training.precision}"
    num_frames, height, width = view_shapes(config)[which]
    views, sampling = config.data.views, config.data.sampling
    frames = f"{num_frames} frames"
    if num_frames < sampling.num_frames:
        selection = views.student.selection
        frames = f"{num_frames} of {sampling.num_frames} frames"
        frames += f" ({selection.replace('_', ' ')})" if selection != "uniform" else ""
    places = f"{sampling.frames.stride} apart" if sampling.frames.kind == "dense" else "at equal distances"
    crops = f"1 centre crop of {sampling.test_crop_ratio:g} of the short side"
    if sampling.test_crops == 3:
        crops = "3 crops along the longer side"
    text = f"{sampling.test_clips} clip(s) a video, {frames} {places}, {crops}, shown at {height}x{width}"
    if sampling.test_clips * sampling.test_crops > 1:
        text += f", {sampling.average_views} averaged"
    if which == "student" and views.student.source == "teacher_view" and views.teacher:
        text += f", shrunk from the teacher's {views.teacher.size[0]}x{views.teacher.size[1]}"
    return text + f", {config.training.precision}"


def _describe_features(data: FeatureDataConfig, which: ViewName) -> str:
    groups = " and ".join(f"{name} ({dim})" for name, dim in data.groups.items())
    student = data.views.student
    if which == "teacher" or student.num_frames is None:
        return f"all frames, at most {data.max_frames}, of the features {groups}"
    return f"{student.num_frames} of at most {data.max_frames} frames ({student.selection}) of the features {groups}"


def write_evaluation(result: Mapping[str, Any], folder: Path) -> Path:
    """Write the result as ``evaluation_<split>_<which>_<checkpoint>[_<views>].json``; returns the path."""
    parts = ("evaluation", result["split"], result["which"], Path(result["checkpoint"]).stem)
    path = folder / f"{'_'.join(parts)}{_views_suffix(result['views'])}.json"
    write_whole(path, json.dumps(result, indent=2) + "\n")
    return path


def _views_suffix(views: Mapping[str, Any]) -> str:
    """Such as ``_10x3`` or ``_10x3_logits``: results of one checkpoint by several protocols lie side by side."""
    if views["clips"] * views["crops"] == 1:
        return ""
    return f"_{views['clips']}x{views['crops']}" + ("_logits" if views["average"] == "logits" else "")
