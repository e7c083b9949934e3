"""Estimates the memory, disk and time that a run of a config needs on this machine. reskd doctor prints them."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch

from dali_pipes.file_names import on_one_line
from dali_pipes.jobs.cores import usable_cores
from dali_pipes.jobs.process_folder import process_folder
from dali_pipes.loader.decoder_choice import decoder_rule
from reskd.distributed import choose_device
from reskd.experiment.config import ExperimentConfig
from reskd.experiment.data import data_of
from reskd.experiment.networks import build_networks, view_shapes
from reskd.machine_checks import GIB, PYAV_DECODE_SECONDS, Finding
from reskd.memory import total_bytes
from reskd.profiling.reading_cost import measure_reading, sample_of_list
from reskd.profiling.resource_estimate import checkpoint_bytes, estimate_memory, measure_seconds_per_clip
from reskd.profiling.speed_budget import describe_budget, machine_of, predict_speed
from reskd.training.precision import Precision, chosen_precision

log = logging.getLogger(__name__)

_LONGEST_PASS_S = 5.0
_MOST_NAMED = 10  # damaged files
_FP16_ON_CPU = 10  # times slower than fp32, and more (AMD EPYC with AVX-512, torch 2.15: ResNet-50, 7 times)


def check_config(config: ExperimentConfig, stage: ExperimentConfig | None = None) -> list[Finding]:
    """Time a pass of a few clips and report what this run needs as one process.

    Args:
        stage: the config of the teacher's stage, if it is in the same file.
    """
    device = choose_device(config.device)
    num_clips, num_classes = None, 400
    try:
        num_clips, num_classes = data_of(config).count_training_list(config.seed)
    except (ValueError, OSError) as error:
        refused = data_of(config).lists_are_there()  # what is not on this machine may be on the one that trains
        text = f"{error} (a guess of {num_classes} classes is used below.)"
        data = Finding("PROBLEM" if refused else "NOTE", "data", text)
    else:
        data = Finding("OK", "data", f"{num_clips} training videos of {num_classes} classes.")
        if too_large := config.training.why_too_large(num_clips):
            data = Finding("PROBLEM", "data", too_large)
    student, teacher, _ = build_networks(config, num_classes=num_classes, device=torch.device("meta"), stage=stage)
    training, shapes = config.training, view_shapes(config)
    at_once = min(training.global_batch_size, training.max_clips_per_pass or training.global_batch_size)
    wanted = chosen_precision(training.precision, device)
    need = estimate_memory(student, teacher, shapes, wanted)
    slow = device.type == "cpu" and wanted == "fp16"
    precision = Precision("fp32" if slow else wanted, device)
    timed_in = precision.choice
    # At least two: batch norm of an embedding has no variance with one clip.
    num_timed = min(at_once, 8 if device.type == "cuda" or config.data.kind == "features" else 2)
    seconds = measure_seconds_per_clip(student, teacher, shapes, precision, num_clips=num_timed)
    num_kept = 2 + int(training.epochs // training.keep_every_epochs if training.keep_every_epochs else 0)
    existing = next(folder for folder in (config.runs.absolute(), *config.runs.absolute().parents) if folder.is_dir())
    if device.type == "cuda":
        where, available = "the GPU", torch.cuda.get_device_properties(device).total_memory
    else:
        where, available = "this machine", total_bytes()
    fits = need.total_bytes(at_once) < available / 2 and seconds * at_once < _LONGEST_PASS_S
    if num_timed < at_once and fits and device.type == "cpu":  # a few clips do not fill the cores
        seconds = measure_seconds_per_clip(student, teacher, shapes, precision, num_clips=at_once)
    if slow and seconds * num_timed < _LONGEST_PASS_S / _FP16_ON_CPU:
        timed_in = wanted
        seconds = measure_seconds_per_clip(student, teacher, shapes, Precision("fp16", device), num_clips=num_timed)
    speed = _check_speed(config, device, seconds) if num_clips is not None else None
    together, limit = _guess_of_speed(config, seconds) if speed is None else (speed.together, speed.limit)
    advice = f"fp16 on a CPU is far slower than fp32; the time below is of {timed_in}. Set training.precision=fp32."
    return [
        data,
        *(_check_damage(config) if num_clips is not None else []),
        *([Finding("NOTE", "precision", advice)] if slow else []),
        check_run_memory(need.total_bytes(at_once), available, num_clips=at_once, where=where),
        check_run_disk(checkpoint_bytes(student, teacher), num_kept, shutil.disk_usage(existing).free),
        *([speed.finding] if speed is not None else []),
        check_run_time(together, limit, num_clips=num_clips, epochs=training.epochs),
    ]


def _check_damage(config: ExperimentConfig) -> list[Finding]:
    """The files that an earlier scan found damaged, by name."""
    try:
        damage = data_of(config).known_damage()
    except (ValueError, OSError) as error:
        return [Finding("PROBLEM", "data", str(error))]
    if not damage:
        return []
    ordered = sorted(damage.items(), key=lambda one: (not one[1].startswith("bad"), one[0]))
    named = "; ".join(f"{on_one_line(path)}: {health}" for path, health in ordered[:_MOST_NAMED])
    more = (
        f"; and {len(ordered) - _MOST_NAMED} more, which reskd prepare scan names" if len(ordered) > _MOST_NAMED else ""
    )
    text = f"of an earlier scan, bad files are skipped and cut ones used up to the damage: {named}{more}."
    return [Finding("NOTE", "damaged files", text)]


class _Speed(NamedTuple):
    finding: Finding
    together: float
    limit: str


def _check_speed(config: ExperimentConfig, device: torch.device, compute_seconds: float) -> _Speed | None:
    """Read a few clips of the training list; None if this cannot be done for these data."""
    if config.data.kind == "features":
        return None
    try:
        with tempfile.TemporaryDirectory(prefix="sample_", dir=process_folder()) as folder:
            sample = sample_of_list(config.clips, Path(folder), seed=config.seed)
            rule = decoder_rule(device, config.clips)
            cost = measure_reading(sample, config.clips, rule, seed=config.seed)
    except (ValueError, OSError) as error:
        log.info("no prediction of the speed: %s", error)
        return None
    machine = machine_of(config.clips, rule, cost)
    budget = predict_speed(compute_seconds, cost, machine)
    cached = config.clips.cache != "none"
    text = describe_budget(budget, cost, machine) + ("; data.cache spares this after the first epoch" if cached else "")
    return _Speed(Finding("OK", "speed", f"{text}."), budget.together, budget.limit)


def _guess_of_speed(config: ExperimentConfig, compute_seconds: float) -> tuple[float, str]:
    """Clips/s and what limits them, by the usual cost of a clip."""
    decode = 0.0 if config.data.kind == "features" else PYAV_DECODE_SECONDS / usable_cores()
    return 1 / max(compute_seconds, decode), "decoding" if decode > compute_seconds else "the networks"


def check_run_memory(need_bytes: int, available_bytes: int, *, num_clips: int, where: str) -> Finding:
    text = (
        f"about {need_bytes / GIB:.1f} GiB for {num_clips} clips at once, {where} has {available_bytes / GIB:.1f} GiB"
    )
    if need_bytes > available_bytes:
        return Finding("PROBLEM", "memory", f"{text}; lower training.max_clips_per_pass: the rest is accumulated.")
    return Finding("NOTE" if need_bytes > 0.8 * available_bytes else "OK", "memory", f"{text}.")


def check_run_disk(checkpoint_bytes: int, num_checkpoints: int, free_bytes: int) -> Finding:
    # One more: a checkpoint is written beside the old one before it replaces it.
    need_bytes = (num_checkpoints + 1) * checkpoint_bytes
    text = f"{num_checkpoints} checkpoints of {checkpoint_bytes / GIB:.2f} GiB, {free_bytes / GIB:.0f} GiB free"
    if need_bytes > free_bytes:
        return Finding("PROBLEM", "run's disk", f"{text}; make room, or raise training.keep_every_epochs.")
    return Finding("OK", "run's disk", f"{text}.")


def check_run_time(clips_per_second: float, limit: str, *, num_clips: int | None, epochs: float) -> Finding:
    """``limit``: what takes longest."""
    seconds = 1 / clips_per_second
    if num_clips is None:
        text = (
            f"about {_duration(1000 * seconds)} for 1,000 clips (limited by {limit}); how many there are is not known"
        )
        return Finding("NOTE", "time", f"{text}: see the line on data.")
    text = f"about {_duration(epochs * num_clips * seconds)} for {epochs:g} epochs of {num_clips} clips"
    return Finding("OK", "time", f"{text}; limited by {limit}.")


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.2g} min"
