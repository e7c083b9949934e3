"""Scores one model, student or teacher, on a list of videos: each video once, on any number of ranks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from dali_pipes.batch import Loader
from dali_pipes.config import Averaging
from reskd.distributed import World, gather_rows
from reskd.evaluation.metrics import Scores, metrics_of
from reskd.evaluation.multi_view import average_views, rows_of_whole_videos
from reskd.training.precision import Precision


@dataclass(frozen=True)
class Evaluation:
    """What came out, the same on every rank.

    Attributes:
        metrics: see ``metrics_of``.
        num_scored: videos all of whose views were really shown to the model; substitutes are not counted.
        num_clips: videos in the loader's list.
        seconds: wall time of the pass, data included.
        logits_NK, labels_N, ids_N: the scored videos, in the order of the list; float32 and int64 on the CPU. The
            softmax of a video's logits is its score, over all its views: see ``average_views``.
    """

    metrics: dict[str, float]
    num_scored: int
    num_clips: int
    seconds: float
    logits_NK: Tensor
    labels_N: Tensor
    ids_N: Tensor


@torch.no_grad()
def evaluate(
    model: nn.Module,
    loader: Loader,
    *,
    view: str,
    world: World,
    precision: Precision,
    average: Averaging = "probabilities",
    scores: Scores = "softmax",
) -> Evaluation:
    """One pass of ``loader`` through ``model`` in eval mode; the model's mode is restored.

    Args:
        model: (a view's data, valid_NT) -> RecognizerOutput.
        view: which of the batch's views, "student" or "teacher", the model sees.
        average: what is averaged over the loader's clips and crops of a video.
        scores: of the logits, for map.
    """
    was_training = model.training
    model.eval()
    started = time.perf_counter()
    logits, facts, label_sets = [], [], []
    try:
        for batch in loader:
            batch = batch.to(world.device, non_blocking=True)
            with precision.autocast():
                output = model(batch.views[view].data, batch.views[view].valid_NT)
            logits.append(output.logits_NK.float())
            counts = ~(batch.padding_N | batch.substituted_N)
            facts.append(torch.stack([batch.positions_N, batch.labels_N, batch.ids_N, counts.long()], dim=1))
            if batch.label_sets_NK is not None:
                label_sets.append(batch.label_sets_NK)
    finally:
        model.train(was_training)
    logits_RK = gather_rows(torch.cat(logits), world).cpu()
    facts_R4 = gather_rows(torch.cat(facts), world).cpu()
    shown_R = facts_R4[:, 3].bool()
    logits_RK, facts_R4 = logits_RK[shown_R], facts_R4[shown_R]
    rows_NV = rows_of_whole_videos(facts_R4[:, 0], loader.num_views)
    logits_NK = average_views(logits_RK[rows_NV], average, scores)
    labels_N, ids_N = facts_R4[rows_NV[:, 0], 1], facts_R4[rows_NV[:, 0], 2]
    sets_NK = gather_rows(torch.cat(label_sets), world).cpu()[shown_R][rows_NV[:, 0]] if label_sets else None
    return Evaluation(
        metrics=metrics_of(logits_NK, labels_N, sets_NK, scores=scores),
        num_scored=len(labels_N),
        num_clips=loader.num_clips,
        seconds=time.perf_counter() - started,
        logits_NK=logits_NK,
        labels_N=labels_N,
        ids_N=ids_N,
    )


class Validation:
    """``evaluate`` bound to a list: what the trainer calls between epochs. Closing it ends the loader's workers."""

    def __init__(
        self,
        loader: Loader,
        *,
        view: str,
        world: World,
        precision: Precision,
        average: Averaging = "probabilities",
        scores: Scores = "softmax",
    ) -> None:
        self._loader = loader
        self._evaluate = partial(
            evaluate, loader=loader, view=view, world=world, precision=precision, average=average, scores=scores
        )

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        return self._evaluate(model).metrics

    def close(self) -> None:
        self._loader.close()
