"""The scores of one run's videos, with all that a report needs of the run: ``SPLIT_CHECKPOINT.npz``.

The file holds arrays alone, so it can be read on any machine, long after the run's own folder is gone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from reskd.statistics.predictions import Predictions
from reskd.statistics.score_files import as_names, label_sets, score_arrays
from reskd.statistics.video_groups import groups_by_pattern, groups_of
from reskd.study.page.data import Curve
from reskd.study.plan import PlannedRun
from reskd.training.run_directory import RunDirectory

if TYPE_CHECKING:
    from reskd.experiment.run import ScoredCheckpoint

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

    def as_predictions(self, run: PlannedRun) -> Predictions:
        """The answers alone, of the scores that the run's loss trains."""
        return Predictions(
            self.videos, self.groups, self.labels_N, self.logits_NK, self.sets_NK, run.config.loss.scores
        )


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
    sets_NK = scores.sets_NK
    predictions = Predictions(scores.videos, scores.groups, scores.labels_N, scores.logits_NK, sets_NK)
    arrays = score_arrays(predictions)
    arrays |= {_CURVE + metric: np.array(curve) for metric, curve in scores.curves.items()}
    np.savez(file, **arrays)


def read_scores(path: Path | IO[bytes], run: PlannedRun, group_pattern: str | None = None) -> RunScores:
    """The scores of a run. Files of earlier versions have no groups and curves: those are in the run's folder.

    Args:
        run: whose scores these are.
        group_pattern: of the study, in place of the groups of the list.
    """
    with np.load(path) as arrays:
        videos, sets_NK = as_names(arrays["videos"]), label_sets(arrays)
        labels_N, logits_NK = arrays["labels_N"], arrays["logits_NK"]
        groups = as_names(arrays["groups"]) if "groups" in arrays else None
        curves: dict[str, Curve] = {
            key.removeprefix(_CURVE): tuple((epoch, value) for epoch, value in arrays[key].tolist())
            for key in arrays
            if key.startswith(_CURVE)
        }
    if groups is None:
        groups, curves = _groups(run, videos), _curves(run)
    if group_pattern:
        groups = groups_by_pattern(videos, group_pattern)
    return RunScores(videos, groups, labels_N, logits_NK, sets_NK, curves)


def _groups(run: PlannedRun, videos: tuple[str, ...]) -> tuple[str, ...]:
    splits = RunDirectory(run.folder.parent / run.weights).splits
    return groups_of(videos, splits, run.config.clips.group_pattern if run.config.data.kind == "clips" else None)


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
