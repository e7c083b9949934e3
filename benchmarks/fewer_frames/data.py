"""The two data sets of the fewer-frames study: synthetic videos, and features extracted from ten classes of UCF101."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.fewer_frames.cases import VIDEOS_SEED, DataSet
from dali_pipes.features.config import EXTRACTION_FILE
from dali_pipes.synthetic.features import ABOUT, SyntheticSpec, describe_synthetic, write_synthetic
from reskd.training.run_changes import flatten

log = logging.getLogger(__name__)

# Many videos for few epochs: with few videos for many epochs, random frames win as an augmentation.
_VIDEOS = {"train": 6000, "test": 400}
_EPOCHS, _QUICK_EPOCHS = 4.0, 1.0
# A clip of 7 s at 12.5 frames per second has about 90 frames; only the first 80 are read, to save time.
_UCF10_EPOCHS, _UCF10_FRAMES = 24.0, 80


def synthetic(folder: Path, *, quick: bool = False, seed: int = VIDEOS_SEED) -> DataSet:
    """Synthetic videos by ``SyntheticSpec``'s defaults but for the seed, written into ``folder`` if not there yet.

    Raises:
        ValueError: other synthetic videos are there.
    """
    spec = SyntheticSpec(frames=(20, 40)) if quick else SyntheticSpec(seed=seed)
    videos = {"train": 64, "test": 20} if quick else _VIDEOS
    if (folder / ABOUT).exists():
        _check_made(folder / ABOUT, spec, videos)
    else:
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
    return _named("synthetic", settings, _EPOCHS, quick=quick)


def ucf10(folder: Path, *, quick: bool = False) -> DataSet:
    """Features that ``reskd prepare extract-features`` wrote from configs/ucf10/*.yaml, without the held-out videos.

    Raises:
        ValueError: no such folder.
    """
    about = folder / EXTRACTION_FILE
    if not about.is_file():
        raise ValueError(
            f"expected features of reskd prepare extract-features in {folder}, found no {about.name}; extract them."
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
    return _named("ucf10", settings, _UCF10_EPOCHS, quick=quick)


def _named(name: str, settings: Mapping[str, Any], epochs: float, *, quick: bool) -> DataSet:
    """The data set; a quick one has a name of its own, so that no folder, row or table mixes it with the study's."""
    return DataSet(f"{name}-quick", settings, _QUICK_EPOCHS) if quick else DataSet(name, settings, epochs)


def _check_made(about: Path, spec: SyntheticSpec, videos: Mapping[str, int]) -> None:
    wanted = dict(flatten(json.loads(json.dumps(describe_synthetic(spec, videos)))))
    there = dict(flatten(json.loads(about.read_text(encoding="utf-8"))))
    differing = sorted(key for key in wanted if there.get(key) != wanted[key])
    if differing:
        shown = ", ".join(f"{key}: {there.get(key)!r} there, {wanted[key]!r} now" for key in differing)
        raise ValueError(
            f"{about}: expected the synthetic videos of this study, found others ({shown}); name another folder for "
            "--synthetic, as those of --quick and of the whole study differ."
        )
