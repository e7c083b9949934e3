"""Checkpoints of students that were never trained, with everything in them that reskd train writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from reskd.experiment.config import parse_config
from reskd.models.families.registry import build_recognizer
from reskd.training.checkpoint import save_checkpoint
from reskd.training.run_directory import config_hash
from tests.reskd.feature_files import experiment

# Views as the paper's students have them: shrunk from the teacher's; neither square nor all of the frames.
SHRUNK_VIEWS = {
    "sampling": {"num_frames": 4},
    "views": {"teacher": {"size": [64, 72]}, "student": {"size": [40, 48], "num_frames": 2}},
}
_RESNET = {"backbone": "resnet18", "head_init_std": 0.05}
CLASSES = ("left", "right", "up")


def write_checkpoint(
    path: Path,
    *,
    student: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
    loss: dict[str, Any] | None = None,
    teacher: dict[str, Any] | None = None,
    others: dict[str, Any] | None = None,
    state: dict[str, Any] | None = None,
) -> Path:
    """A student with random weights and answers that differ between clips.

    Args:
        student, data, loss, teacher: settings in place of those below.
        others: groups of settings that are not there below.
        state: what else the file holds, in place of what it should.
    """
    tree = {
        "name": "tiny",
        "device": "cpu",
        "data": {
            "root": "nowhere",
            "train": "train.csv",
            "sampling": {"num_frames": 2},
            "views": {"student": {"size": 40, "source": "decoded"}},
            "loader": {"num_workers": 1, "num_threads": 1},
            **(data or {}),
        },
        "student": student if student and "build" in student else {**_RESNET, **(student or {})},
        "loss": loss or {},
        "teacher": teacher,
        **(others or {}),
        "optimizer": {"lr": 0.01},
        "training": {"epochs": 1, "global_batch_size": 4},
    }
    return _write(path, tree, state or {})


def write_feature_checkpoint(path: Path, *, root: Path) -> Path:
    """The same of a student that sees 4 frames of features under ``root``."""
    return _write(path, experiment(root, root / "runs"), {})


def _write(path: Path, tree: dict[str, Any], state: dict[str, Any]) -> Path:
    config = parse_config(tree)
    torch.manual_seed(0)
    model = build_recognizer(config.student, len(CLASSES))
    save_checkpoint(
        path,
        {
            "student": model.state_dict(),
            "loss": {},
            "config": config.resolved(),
            "config_hash": config_hash(config.resolved()),
            "class_names": list(CLASSES),
            "num_steps": 1,
            **state,
        },
    )
    return path
