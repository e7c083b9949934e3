"""Small files of features, and experiments on them: each video's frames point to its class, with noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dali_pipes.features.sequence_example import write_video
from dali_pipes.features.tfrecord import RecordWriter

NUM_CLASSES, DIM, MAX_FRAMES = 3, 6, 8


def write_features(folder: Path, num_videos: int = 24, *, several_labels: bool = False) -> Path:
    """``train.tfrecord`` and ``test.tfrecord`` of videos of 5 to 8 frames, of one label or two; returns ``folder``."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        with RecordWriter(folder / f"{split}.tfrecord") as writer:
            for number in range(num_videos):
                label, num_frames = number % NUM_CLASSES, 5 + number % 4
                frames_Td = rng.integers(90, 160, (num_frames, DIM), dtype=np.uint8)
                frames_Td[:, label] = 220
                labels = [label, (label + 1) % NUM_CLASSES][: 1 + several_labels]
                write_video(writer, video_id=f"{split}{number}", labels=labels, groups={"rgb": frames_Td})
    return folder


def network(kind: str = "h_rnn", classifier: dict[str, Any] | None = None, **aggregator: Any) -> dict[str, Any]:
    """Settings of a tiny recognizer of these features."""
    if kind == "h_rnn":
        aggregator = {"block_length": 4, "hidden_dim": 4, "num_layers": 1, **aggregator}
    classifier = classifier or {"kind": "linear", "init_std": 0.1}
    groups = {"rgb": DIM}
    return {
        "family": "features",
        "groups": groups,
        "aggregator": {"kind": kind, **aggregator},
        "classifier": classifier,
    }


def experiment(features: Path, runs: Path, **changes: Any) -> dict[str, Any]:
    """A plain student that sees 4 frames; ``changes`` replaces whole groups."""
    return {
        "name": "tiny",
        "runs": str(runs),
        "device": "cpu",
        "data": {
            "kind": "features",
            "root": str(features),
            "train": "train.tfrecord",
            "val_fraction": 0.25,
            "test": "test.tfrecord",
            "num_classes": NUM_CLASSES,
            "groups": {"rgb": DIM},
            "max_frames": MAX_FRAMES,
            "views": {"student": {"num_frames": 4}},
        },
        "student": network(),
        "loss": {"task": "sigmoid_bce"},
        "optimizer": {"name": "adamw", "lr": 0.02},
        "training": {"epochs": 2, "global_batch_size": 6, "log_every_steps": 1},
        **changes,
    }


def taught(features: Path, runs: Path, teacher: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The same with a teacher that sees all frames."""
    tree = experiment(features, runs, **changes)
    tree["data"]["views"]["teacher"] = {}
    tree["teacher"] = {"batch_norm": "batch_stats", **teacher}
    return tree
