"""Accumulates a model's outputs over batches, and joins all ranks' outputs into one result.

It keeps all scores while they fit, else each video's top list: Note [Which metrics, when] in metrics.py.

Shape letters: N clips of a batch or videos of the list, V test views of a video, R = N * V, K classes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dali_pipes.batch import ClipBatch
from dali_pipes.sampling_config import Averaging
from reskd.choices import ScoreKind
from reskd.distributed import World, gather_rows
from reskd.evaluation.metrics import metrics_of, rank_scores
from reskd.evaluation.multi_view import average_views, rows_of_whole_videos
from reskd.evaluation.youtube8m import TopLists, joined, top_lists, video_level_metrics


class Scored(NamedTuple):
    """The scored videos in list order, on the CPU; the same on every rank. As in ``Evaluation``."""

    metrics: dict[str, float]
    labels_N: Tensor
    ids_N: Tensor
    logits_NK: Tensor | None
    label_sets_NK: Tensor | None


class CountedVideos:
    """The videos that are scored, over all ranks: neither padding nor substitutes."""

    def __init__(self) -> None:
        self._rows: list[Tensor] = []

    def add(self, batch: ClipBatch) -> Tensor:
        """bool (N,): the clips that count."""
        counts_N = ~(batch.padding_N | batch.substituted_N)
        self._rows.append(torch.stack([batch.positions_N, batch.labels_N, batch.ids_N, counts_N.long()], dim=1))
        return counts_N

    def joined(self, world: World, num_test_views: int) -> tuple[Tensor, Tensor, Tensor]:
        """(rows_NV, labels_N, ids_N) of the videos whose test views all count; rows index ``gather_rows``."""
        rows_R4 = gather_rows(torch.cat(self._rows), world).cpu()
        counted = rows_R4[:, 3].nonzero().flatten()
        rows_NV = counted[rows_of_whole_videos(rows_R4[counted, 0], num_test_views)]
        return rows_NV, rows_R4[rows_NV[:, 0], 1], rows_R4[rows_NV[:, 0], 2]


class AllScores:
    """Keeps the logits of every test view."""

    def __init__(self, num_test_views: int, average: Averaging, scores: ScoreKind) -> None:
        self._num_test_views, self._average, self._scores = num_test_views, average, scores
        self._counted = CountedVideos()
        self._logits: list[Tensor] = []
        self._label_sets: list[Tensor] = []

    def add(self, batch: ClipBatch, logits_NK: Tensor) -> None:
        self._counted.add(batch)
        self._logits.append(logits_NK)
        if batch.label_sets_NK is not None:
            self._label_sets.append(batch.label_sets_NK)

    def joined(self, world: World) -> Scored:
        rows_NV, labels_N, ids_N = self._counted.joined(world, self._num_test_views)
        logits_RK = gather_rows(torch.cat(self._logits), world).cpu()
        logits_NK = average_views(logits_RK[rows_NV], self._average, self._scores)
        sets_NK = None
        if self._label_sets:
            sets_NK = gather_rows(torch.cat(self._label_sets), world).cpu()[rows_NV[:, 0]]
        metrics = metrics_of(logits_NK, labels_N, sets_NK, scores=self._scores)
        return Scored(metrics, labels_N, ids_N, logits_NK, sets_NK)


class TopScores:
    """Keeps 20 scores per video, for lists with one test view per video; see ``TopLists`` for the size."""

    def __init__(self, scores: ScoreKind) -> None:
        self._scores = scores
        self._counted = CountedVideos()
        self._lists: list[TopLists] = []
        self._positives_K: Tensor | None = None

    def add(self, batch: ClipBatch, logits_NK: Tensor) -> None:
        counts_N, label_sets_NK = self._counted.add(batch), batch.label_sets_NK
        if label_sets_NK is None:
            label_sets_NK = one_hot(batch.labels_N, logits_NK.shape[1]).bool()
        self._lists.append(top_lists(rank_scores(logits_NK, self._scores), label_sets_NK))
        positives_K = (label_sets_NK & counts_N[:, None]).sum(0)
        self._positives_K = positives_K if self._positives_K is None else self._positives_K + positives_K

    def joined(self, world: World) -> Scored:
        assert self._positives_K is not None
        rows_NV, labels_N, ids_N = self._counted.joined(world, 1)
        lists = joined(self._lists).gathered(world).rows(rows_NV[:, 0])
        positives_K = gather_rows(self._positives_K[None], world).sum(0).cpu()
        return Scored(video_level_metrics(lists, positives_K), labels_N, ids_N, None, None)
