"""Scores one model, student or teacher, on a list of clips: each clip once, on any number of ranks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dali_pipes.batch import Loader
from reskd.distributed import World, gather_rows
from reskd.evaluation.metrics import Scores, metrics_of
from reskd.training.precision import Precision


@dataclass(frozen=True)
class Evaluation:
    """What came out, the same on every rank.

    Attributes:
        metrics: see ``metrics_of``.
        num_scored: clips that were really shown to the model; substitutes and padding are not counted.
        num_clips: clips in the loader's list.
        seconds: wall time of the pass, data included.
        logits_NK, labels_N, ids_N: the scored clips, in the order of the list; float32 and int64 on the CPU.
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
    model: nn.Module, loader: Loader, *, view: str, world: World, precision: Precision, scores: Scores = "softmax"
) -> Evaluation:
    """One pass of ``loader`` through ``model`` in eval mode; the model's mode is restored.

    Args:
        model: frames_NTHWC -> RecognizerOutput.
        view: which of the batch's views the model sees.
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
                output = model(batch.views[view].data_NTHWC)
            logits.append(output.logits_NK.float())
            counts = ~(batch.padding_N | batch.substituted_N)
            facts.append(torch.stack([batch.positions_N, batch.labels_N, batch.ids_N, counts.long()], dim=1))
            if batch.label_sets_NK is not None:
                label_sets.append(batch.label_sets_NK)
    finally:
        model.train(was_training)
    logits_NK = gather_rows(torch.cat(logits), world).cpu()
    facts_N4 = gather_rows(torch.cat(facts), world).cpu()
    scored = facts_N4[:, 3].bool()
    logits_NK, facts_N4 = logits_NK[scored], facts_N4[scored]
    order = facts_N4[:, 0].argsort(stable=True)
    logits_NK, labels_N, ids_N = logits_NK[order], facts_N4[order, 1], facts_N4[order, 2]
    sets_NK = gather_rows(torch.cat(label_sets), world).cpu()[scored][order] if label_sets else None
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
        self, loader: Loader, *, view: str, world: World, precision: Precision, scores: Scores = "softmax"
    ) -> None:
        self._loader, self._view, self._world, self._precision = loader, view, world, precision
        self._scores: Scores = scores

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        return evaluate(
            model,
            self._loader,
            view=self._view,
            world=self._world,
            precision=self._precision,
            scores=self._scores,
        ).metrics

    def close(self) -> None:
        self._loader.close()
