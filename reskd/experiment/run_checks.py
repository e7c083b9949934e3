"""Estimates the memory, disk and time that a run of a config needs on this machine. tools/doctor.py prints them."""

from __future__ import annotations

import shutil

import torch

from dali_pipes.jobs.cores import usable_cores
from reskd.distributed import choose_device
from reskd.experiment.config import ExperimentConfig
from reskd.experiment.data import data_of
from reskd.experiment.networks import build_networks, view_shapes
from reskd.machine_checks import GIB, PYAV_DECODE_SECONDS, Finding
from reskd.memory import total_bytes
from reskd.profiling.resource_estimate import checkpoint_bytes, estimate_memory, measure_seconds_per_clip
from reskd.training.precision import Precision


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
        data = Finding("NOTE", "data", f"{error} (a guess of {num_classes} classes is used below.)")
    else:
        data = Finding("OK", "data", f"{num_clips} training videos of {num_classes} classes.")
    student, teacher, _ = build_networks(config, num_classes=num_classes, device=torch.device("meta"), stage=stage)
    training, shapes = config.training, view_shapes(config)
    at_once = min(training.global_batch_size, training.max_clips_per_pass or training.global_batch_size)
    need = estimate_memory(student, teacher, shapes, training.precision)
    slow = device.type == "cpu" and training.precision == "fp16"
    precision = Precision("fp32" if slow else training.precision, device)
    # At least two: batch norm of an embedding has no variance with one clip.
    num_timed = min(at_once, 8 if device.type == "cuda" or config.data.kind == "features" else 2)
    seconds = measure_seconds_per_clip(student, teacher, shapes, precision, num_clips=num_timed)
    num_kept = 2 + int(training.epochs // training.keep_every_epochs if training.keep_every_epochs else 0)
    existing = next(folder for folder in (config.runs.absolute(), *config.runs.absolute().parents) if folder.is_dir())
    if device.type == "cuda":
        where, available = "the GPU", torch.cuda.get_device_properties(device).total_memory
    else:
        where, available = "this machine", total_bytes()
    decode = 0.0 if config.data.kind == "features" else PYAV_DECODE_SECONDS / usable_cores()
    advice = "fp16 on a CPU is far slower than fp32, which is timed below; set training.precision=fp32."
    return [
        data,
        *([Finding("NOTE", "precision", advice)] if slow else []),
        check_run_memory(need.total_bytes(at_once), available, num_clips=at_once, where=where),
        check_run_disk(checkpoint_bytes(student, teacher), num_kept, shutil.disk_usage(existing).free),
        check_run_time(seconds, decode, num_clips=num_clips, epochs=training.epochs),
    ]


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


def check_run_time(compute_seconds: float, decode_seconds: float, *, num_clips: int | None, epochs: float) -> Finding:
    """Both times are per clip; decoding runs beside the step, so the slower one counts."""
    slower = "decoding" if decode_seconds > compute_seconds else "the networks"
    seconds = max(compute_seconds, decode_seconds)
    if num_clips is None:
        text = f"about {_duration(1000 * seconds)} for 1,000 clips ({slower} take longest); the list is not here"
        return Finding("NOTE", "time", f"{text}: check data.root and data.train.")
    text = f"about {_duration(epochs * num_clips * seconds)} for {epochs:g} epochs of {num_clips} clips"
    return Finding("OK", "time", f"{text}; {slower} take longest.")


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.2g} min"
