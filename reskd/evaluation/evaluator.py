"""Scores one model, student or teacher, on a list of videos: each video once, on any number of ranks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dali_pipes.batch import Loader
from dali_pipes.sampling_config import Averaging
from reskd.choices import ScoreKind
from reskd.distributed import World, gather_rows
from reskd.evaluation.accumulators import AllScores, Scored, TopScores
from reskd.evaluation.metrics import ScoredList
from reskd.extensions.config import MadeByCode
from reskd.extensions.metrics import compute_metrics
from reskd.outputs import probabilities
from reskd.training.precision import Precision


@dataclass(frozen=True)
class Evaluation:
    """The result, the same on every rank.

    Attributes:
        metrics: see ``metrics_of``.
        num_scored: videos whose test views were all loaded; substitutes do not count.
        num_clips: videos in the loader's list.
        seconds: wall time of the pass, data included.
        logits_NK, labels_N, ids_N: the scored videos, in list order; float32 and int64 on the CPU. The softmax of a
            video's logits is its score over all test views: see ``average_views``. Logits are None where the list is
            too long to keep them: Note [Which metrics, when] in metrics.py.
        label_sets_NK: bool, of a list with several labels a video; None for others, and where logits are.
    """

    metrics: dict[str, float]
    num_scored: int
    num_clips: int
    seconds: float
    logits_NK: Tensor | None
    labels_N: Tensor
    ids_N: Tensor
    label_sets_NK: Tensor | None


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of an evaluation.

    Attributes:
        view: the view of the batch that the model sees, "student" or "teacher".
        precision: of the model's arithmetic.
        average: the quantity averaged over a video's test views.
        scores: of the logits, for map.
        own_metrics: of the user's, by name: reskd/extensions/metrics.py.
    """

    view: str
    precision: Precision
    average: Averaging = "probabilities"
    scores: ScoreKind = "softmax"
    own_metrics: Mapping[str, MadeByCode] = field(default_factory=dict)


@torch.no_grad()
def evaluate(model: nn.Module, loader: Loader, settings: EvaluationSettings, *, world: World) -> Evaluation:
    """One pass of ``loader`` through ``model`` in eval mode; the model's mode is restored.

    Args:
        model: (a view's data, valid_NT) -> RecognizerOutput.

    Raises:
        FloatingPointError: scores are not finite, on any rank; every rank raises it.
    """
    was_training = model.training
    model.eval()
    started = time.perf_counter()
    try:
        answers, num_bad = _answers(model, loader, settings, world.device)
    finally:
        model.train(was_training)
    _refuse_bad_scores(num_bad, settings.view, world)
    scored = answers.joined(world)
    own = _own_metrics(settings, scored)
    return Evaluation(
        metrics=scored.metrics | own,
        num_scored=len(scored.labels_N),
        num_clips=loader.num_samples,
        seconds=time.perf_counter() - started,
        logits_NK=scored.logits_NK,
        labels_N=scored.labels_N,
        ids_N=scored.ids_N,
        label_sets_NK=scored.label_sets_NK,
    )


def _answers(
    model: nn.Module, loader: Loader, settings: EvaluationSettings, device: torch.device
) -> tuple[AllScores | TopScores, Tensor]:
    """The model's outputs for this rank's batches, and the number of clips with a score that is not finite."""
    answers: AllScores | TopScores | None = None
    num_bad = torch.zeros((), dtype=torch.int64, device=device)
    for batch in loader:
        batch = batch.to(device, non_blocking=True)
        view = batch.views[settings.view]
        with settings.precision.autocast():
            output = model(view.data, view.valid_NT)
        logits_NK = output.logits_NK.to(torch.float32, copy=True)  # a CUDA graph's outputs are filled again
        answers = answers or _no_answers(loader, settings, logits_NK.shape[1], batch.label_sets_NK is not None)
        answers.add(batch, logits_NK)
        num_bad += (~logits_NK.isfinite()).any(1).sum()
    if answers is None:
        raise ValueError("expected at least one video in the list, found none.")
    return answers, num_bad


def _own_metrics(settings: EvaluationSettings, scored: Scored) -> dict[str, float]:
    if not settings.own_metrics:
        return {}
    if scored.logits_NK is None:
        raise ValueError(
            f"metrics.{next(iter(settings.own_metrics))}: expected a list whose scores are all kept, found a longer "
            "one; leave metrics out, or evaluate a shorter list."
        )
    labels = scored.labels_N if scored.label_sets_NK is None else scored.label_sets_NK.long()
    return compute_metrics(settings.own_metrics, probabilities(scored.logits_NK, settings.scores), labels)


def _refuse_bad_scores(num_bad: Tensor, view: str, world: World) -> None:
    bad_of_ranks = gather_rows(num_bad[None], world).tolist()
    if any(bad_of_ranks):
        raise FloatingPointError(
            f"the {view}'s scores of {sum(bad_of_ranks)} clips are not finite (counted on the ranks: {bad_of_ranks}); "
            "expected finite scores. Its weights or batch norm's statistics have grown too large: resume from an "
            "earlier checkpoint with --set optimizer.lr=... and a lower value, or train it again."
        )


def _no_answers(
    loader: Loader, settings: EvaluationSettings, num_classes: int, several_labels: bool
) -> AllScores | TopScores:
    """The empty accumulator for this list."""
    scores = settings.scores
    scored_list = ScoredList(loader.num_samples, num_classes, loader.num_test_views, several_labels, scores)
    return (
        AllScores(loader.num_test_views, settings.average, scores)
        if scored_list.keeps_all_scores
        else TopScores(scores)
    )


class Validation:
    """``evaluate`` bound to a list, for the trainer's calls between epochs. Closing it ends the loader's workers."""

    def __init__(self, loader: Loader, settings: EvaluationSettings, *, world: World) -> None:
        self._loader, self._settings, self._world = loader, settings, world

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        return evaluate(model, self._loader, self._settings, world=self._world).metrics

    def close(self) -> None:
        self._loader.close()
