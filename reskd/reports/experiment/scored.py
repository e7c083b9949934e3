"""Keep the scores of an evaluation's videos, so that models can be compared video by video later."""

from __future__ import annotations

from pathlib import Path

from reskd.experiment.config import ExperimentConfig
from reskd.experiment.run import ScoredCheckpoint
from reskd.statistics.predictions import Predictions
from reskd.statistics.score_files import ScoredVideos, write_score_file
from reskd.statistics.video_groups import groups_of
from reskd.training.run_directory import RunDirectory

SUFFIX = ".scores.npz"


def keep_scores(scored: ScoredCheckpoint, config: ExperimentConfig, run: Path, result: Path) -> list[Path]:
    """Write the scores beside ``result``; nothing where the list was too long to keep them, or no video has a score.

    Args:
        run: folder of the run that trained the weights, whose table of splits has the videos' groups.
        result: the JSON file of the evaluation.
    """
    evaluation = scored.evaluation
    if evaluation.logits_NK is None or not evaluation.num_scored:
        return []
    pattern = config.clips.group_pattern if config.data.kind == "clips" else None
    videos = tuple(scored.name(row) for row in evaluation.ids_N.tolist())
    predictions = Predictions(
        videos,
        groups_of(videos, RunDirectory(run).splits, pattern),
        evaluation.labels_N.numpy(),
        evaluation.logits_NK.float().numpy(),
        None if evaluation.label_sets_NK is None else evaluation.label_sets_NK.numpy(),
        scored.scores,
    )
    path = result.with_suffix(SUFFIX)
    write_score_file(ScoredVideos(predictions, tuple(scored.manifest.class_names), scored.unscored), path)
    return [path]
