"""Small files of frame-level records, for tests."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dali_pipes.features.config import FeatureDataConfig
from dali_pipes.features.sequence_example import write_video
from dali_pipes.features.tfrecord import RecordWriter

GROUPS = {"rgb": 6, "audio": 2}
NUM_CLASSES = 5


def frames_of_video(number: int, num_frames: int) -> dict[str, np.ndarray]:
    """Every value names its video, frame and place."""
    frame, location = np.arange(num_frames)[:, None], np.arange(8)
    values = ((number * 31 + frame * 7 + location) % 255 + 1).astype(np.uint8)
    return {"rgb": values[:, :6], "audio": values[:, 6:]}


def labels_of_video(number: int) -> tuple[int, ...]:
    return (number % NUM_CLASSES, (number + 2) % NUM_CLASSES)[: 1 + number % 2]


def num_frames_of_video(number: int) -> int:
    return 1 + number * 5 % 12


def write_file(path: Path, numbers: Sequence[int], **options: Any) -> Path:
    """Videos v<number>; ``options`` replace what ``write_video`` is given."""
    with RecordWriter(path) as writer:
        for number in numbers:
            given = {
                "video_id": f"v{number}",
                "labels": labels_of_video(number),
                "groups": frames_of_video(number, num_frames_of_video(number)),
            }
            write_video(writer, **(given | options))
    return path


def make_config(root: Path, **changes: Any) -> FeatureDataConfig:
    settings: dict[str, Any] = {
        "kind": "features",
        "root": root,
        "train": "train*.tfrecord",
        "num_classes": NUM_CLASSES,
        "groups": GROUPS,
        "max_frames": 10,
        "views": {"teacher": {}, "student": {"num_frames": 3}},
    }
    return FeatureDataConfig.model_validate(settings | changes)


def flip_byte(path: Path, at: int) -> None:
    """Change one byte and leave size and time as they are, as a bad disk does."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    times = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
