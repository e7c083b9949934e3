"""The two data sets of the fewer-frames study: made-up videos, and features extracted from ten classes of UCF101."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from dali_pipes.synthetic_features import SyntheticSpec, write_synthetic
from reskd.study.cases import DataSet

log = logging.getLogger(__name__)

# Many videos seen few times: with few of them, seen often, random frames win as an augmentation.
_VIDEOS = {"train": 6000, "test": 400}
# Settings were tried on seed 0.
_SEED = 1
_EPOCHS, _QUICK_EPOCHS = 4.0, 1.0
# Features of a clip of 7 s, 12.5 a second, are some 90; what lies beyond is left unread for the runs' time.
_UCF10_EPOCHS, _UCF10_FRAMES = 24.0, 80


def synthetic(folder: Path, *, quick: bool = False) -> DataSet:
    """Made-up videos by ``SyntheticSpec``'s defaults but its seed, written into ``folder`` if not there yet."""
    spec = SyntheticSpec(frames=(20, 40)) if quick else SyntheticSpec(seed=_SEED)
    videos = {"train": 64, "test": 20} if quick else _VIDEOS
    if not (folder / "about.json").exists():
        log.info("making %d videos in %s", sum(videos.values()), folder)
        write_synthetic(spec, folder, videos)
    settings = {
        "kind": "features",
        "root": str(folder),
        "train": "train*.tfrecord",
        "test": "test*.tfrecord",
        "classes": "classes.txt",
        "groups": dict(spec.groups),
        "max_frames": spec.frames[1],
    }
    return DataSet("synthetic", settings, epochs=_QUICK_EPOCHS if quick else _EPOCHS)


def ucf10(folder: Path, *, quick: bool = False) -> DataSet:
    """What ``prepare_data.py extract-features`` wrote from configs/ucf10_*.yaml; the held-out videos stay unused.

    Raises:
        ValueError: no such folder.
    """
    about = folder / "features.json"
    if not about.is_file():
        raise ValueError(
            f"expected features of prepare_data.py extract-features in {folder}, found no {about.name}; extract them."
        )
    groups = json.loads(about.read_text(encoding="utf-8"))["settings"]["groups"]
    settings = {
        "kind": "features",
        "root": str(folder),
        "train": "train-*.tfrecord",
        "test": "test-*.tfrecord",
        "classes": "classes.txt",
        "groups": groups,
        "max_frames": _UCF10_FRAMES,
    }
    return DataSet("ucf10", settings, epochs=_QUICK_EPOCHS if quick else _UCF10_EPOCHS)
