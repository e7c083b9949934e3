"""The scores of one run's videos, with all that a report needs of the run: ``SPLIT_CHECKPOINT.npz``.

The file holds arrays alone, so it can be read on any machine, long after the run's own folder is gone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from dali_pipes.manifest.split_lists import matched_group
from dali_pipes.manifest.split_table import groups_of_videos
from reskd.study.page.data import Curve
from reskd.study.plan import PlannedRun
from reskd.training.run_directory import RunDirectory

if TYPE_CHECKING:
    from reskd.experiment.run import ScoredCheckpoint

_LABEL_BITS = "label_bits_NB"  # of a list with several labels a video: a bit a class
_CURVE = "curve_"  # and the metric: rows of (epoch, metric)


@dataclass(frozen=True)
class RunScores:
    """The answers of one run on its list.

    Attributes:
        videos: their names in the list, N of them.
        groups: the scene that each shows; its own name if it stands alone.
        labels_N: one label a video.
        logits_NK: fp32.
        sets_NK: bool; None unless the list has several labels a video.
        curves: metric -> its value after each validation.
    """

    videos: tuple[str, ...]
    groups: tuple[str, ...]
    labels_N: np.ndarray
    logits_NK: np.ndarray
    sets_NK: np.ndarray | None
    curves: Mapping[str, Curve]


def scores_of(run: PlannedRun, scored: ScoredCheckpoint) -> RunScores:
    """What an evaluation and the folder of the run that trained the weights hold.

    Raises:
        ValueError: the list was too long to keep all scores.
    """
    evaluation = scored.evaluation
    if evaluation.logits_NK is None:
        raise ValueError(f"{run.name}: expected a list short enough to keep all scores, found {evaluation.num_clips}.")
    videos = tuple(scored.name(row) for row in evaluation.ids_N.tolist())
    return RunScores(
        videos=videos,
        groups=_groups(run, videos),
        labels_N=evaluation.labels_N.numpy(),
        logits_NK=evaluation.logits_NK.float().numpy(),
        sets_NK=None if evaluation.label_sets_NK is None else evaluation.label_sets_NK.numpy(),
        curves=_curves(run),
    )


def write_scores(scores: RunScores, file: IO[bytes]) -> None:
    """Write a file of scores; equal scores give equal bytes."""
    arrays: dict[str, Any] = {
        "videos": np.array([os.fsencode(video) for video in scores.videos]),
        "groups": np.array([os.fsencode(group) for group in scores.groups]),
        "labels_N": scores.labels_N,
        "logits_NK": scores.logits_NK,
    }
    if scores.sets_NK is not None:
        arrays[_LABEL_BITS] = np.packbits(scores.sets_NK, axis=1)
    arrays |= {_CURVE + metric: np.array(curve) for metric, curve in scores.curves.items()}
    np.savez(file, **arrays)


def read_scores(path: Path | IO[bytes], run: PlannedRun) -> RunScores:
    """The scores of a run. Files of earlier versions have no groups and curves: those are in the run's folder.

    Args:
        run: whose scores these are.
    """
    with np.load(path) as arrays:
        videos = _names(arrays["videos"])
        labels_N, logits_NK, bits_NB = arrays["labels_N"], arrays["logits_NK"], arrays.get(_LABEL_BITS)
        groups = _names(arrays["groups"]) if "groups" in arrays else None
        curves: dict[str, Curve] = {
            key.removeprefix(_CURVE): tuple((epoch, value) for epoch, value in arrays[key].tolist())
            for key in arrays
            if key.startswith(_CURVE)
        }
    sets_NK = None if bits_NB is None else np.unpackbits(bits_NB, axis=1, count=logits_NK.shape[1]).astype(bool)
    if groups is None:
        groups, curves = _groups(run, videos), _curves(run)
    return RunScores(videos, groups, labels_N, logits_NK, sets_NK, curves)


def _names(array: np.ndarray) -> tuple[str, ...]:
    return tuple(os.fsdecode(name) for name in array.tolist())


def _groups(run: PlannedRun, videos: tuple[str, ...]) -> tuple[str, ...]:
    """As the run that trained the weights split its lists; features have no groups.

    Tables of earlier versions have no groups of the videos of a test list: the pattern finds them.
    """
    path = RunDirectory(run.folder.parent / run.weights).splits
    known = groups_of_videos(path.read_bytes()) if path.is_file() else {}
    pattern = run.config.clips.group_pattern if run.config.data.kind == "clips" else None
    groups = [known.get(video, video) for video in videos]
    return tuple(
        (matched_group(pattern, video) or video) if group == video else group
        for video, group in zip(videos, groups, strict=True)
    )


def _curves(run: PlannedRun) -> dict[str, Curve]:
    """The validations of a trained run, without those of classes or labels alone."""
    path = RunDirectory(run.folder).metrics
    if not run.is_trained or not path.is_file():
        return {}
    found: dict[str, list[tuple[float, float]]] = {}
    for metric, epoch, value in _validations(path):
        found.setdefault(metric, []).append((epoch, value))
    return {metric: tuple(curve) for metric, curve in found.items()}


def _validations(path: Path) -> Iterator[tuple[str, float, float]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        values = json.loads(line)
        for key, value in values.items():
            if key.startswith("val/") and "train/epoch" in values and isinstance(value, int | float):
                yield key.removeprefix("val/"), values["train/epoch"], value
