"""Metrics of a list of clips, from torchmetrics; those of YouTube-8M are in youtube8m.py.

Note [Which metrics, when]
A list with one label per video has top1, top5, mean_class_accuracy and map, and log_loss under softmax scores. A list
with several has map. A list with several labels, or under sigmoid scores, also has the metrics of youtube8m.py. A long
one has only these, as all N * K scores are kept only up to ``MOST_SCORES``, or where a video has several test views to
average; otherwise only each video's top list is kept.

Shape letters: N clips, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from reskd.choices import ScoreKind
from reskd.evaluation.youtube8m import top_lists, video_level_metrics
from reskd.training.plan import SelectionMetric

# 256 MiB of fp32, and a GiB while map is computed: 14,000 videos of YouTube-8M's 4716 classes.
MOST_SCORES = 2**26


@dataclass(frozen=True)
class ScoredList:
    """Properties of a list, known before it is scored.

    Attributes:
        num_videos, num_classes: N, K.
        num_test_views: test views of each video, clips x crops.
        several_labels: whether a video may have more than one label.
        scores: of the logits.
    """

    num_videos: int
    num_classes: int
    num_test_views: int
    several_labels: bool
    scores: ScoreKind

    @property
    def has_video_level(self) -> bool:
        return self.several_labels or self.scores == "sigmoid"

    @property
    def keeps_all_scores(self) -> bool:
        """Whether all N * K scores are kept, not only the videos' top lists."""
        is_small = self.num_videos * self.num_classes <= MOST_SCORES
        return is_small or self.num_test_views > 1 or not self.has_video_level

    @property
    def selection_metrics(self) -> tuple[str, ...]:
        """The metrics of this list that may choose best.pt."""
        names = {"gap", "hit1"} if self.has_video_level else set()
        if self.keeps_all_scores:
            names |= {"map"} if self.several_labels else {"top1", "mean_class_accuracy", "map"}
            names |= set() if self.has_video_level else {"log_loss"}
        return tuple(name for name in get_args(SelectionMetric) if name in names)


def check_selection_metric(metric: SelectionMetric, scored_list: ScoredList) -> None:
    """Refuse a metric that the validation list lacks, as best.pt would never be chosen.

    Raises:
        ValueError: lists the metrics that it has.
    """
    given = scored_list.selection_metrics
    if metric not in given:
        labels = "several labels per video" if scored_list.several_labels else "one label per video"
        raise ValueError(
            f"the validation list ({scored_list.num_videos} videos, {labels}, {scored_list.num_classes} classes, "
            f"{scored_list.scores} scores) gives no {metric}; set training.selection_metric to {' or '.join(given)}."
        )


def metrics_of(
    logits_NK: Tensor, labels_N: Tensor, label_sets_NK: Tensor | None, *, scores: ScoreKind
) -> dict[str, float]:
    """``multi_label_metrics`` where the list has several labels per video, else ``classification_metrics``.

    ``scores`` applies to map in both cases, which makes lists with and without multi-label videos comparable. Under
    sigmoid scores there is no log_loss, as the softmax of such logits is no probability.
    """
    if label_sets_NK is not None:
        return multi_label_metrics(logits_NK, label_sets_NK, scores=scores)
    metrics = classification_metrics(logits_NK, labels_N)
    if scores == "sigmoid":
        del metrics["log_loss"]
        metrics |= multi_label_metrics(logits_NK, one_hot(labels_N, logits_NK.shape[1]).bool(), scores=scores)
    return metrics


def classification_metrics(logits_NK: Tensor, labels_N: Tensor) -> dict[str, float]:
    """top1, top5, mean_class_accuracy and map, each in [0, 1], and log_loss in nats.

    ``log_loss`` is the mean over clips of the negative logarithm of the right class's softmax score; lower is better.
    ``map`` is the mean over classes of the average precision of the softmax scores (the paper's metric on ActivityNet
    and FCVID). Classes without a clip in the list count neither in map nor in mean_class_accuracy.

    Raises:
        ValueError: no clips.
    """
    if len(labels_N) == 0:
        raise ValueError("expected at least one scored clip, found none; see the messages about the files above.")
    # Imported here because it takes seconds, and training starts without it.
    from torchmetrics.functional.classification import multiclass_accuracy, multiclass_average_precision

    scores_NK, num_classes = logits_NK.float().softmax(dim=1), logits_NK.shape[1]
    present = labels_N.unique()

    def accuracy(average: Literal["micro", "none"], k: int = 1) -> Tensor:
        return multiclass_accuracy(scores_NK, labels_N, num_classes, average, top_k=min(k, num_classes))

    precision_K = multiclass_average_precision(scores_NK, labels_N, num_classes, average="none")
    return {
        "top1": accuracy("micro").item(),
        "top5": accuracy("micro", 5).item(),
        "mean_class_accuracy": accuracy("none")[present].mean().item(),
        "map": precision_K[present].mean().item(),
        "log_loss": cross_entropy(logits_NK.double(), labels_N).item(),
    }


def multi_label_metrics(logits_NK: Tensor, label_sets_NK: Tensor, *, scores: ScoreKind) -> dict[str, float]:
    """map and ``video_level_metrics``, each in [0, 1].

    ``map`` is the mean over classes of the average precision of the scores against bool label sets. A class without a
    clip in the list does not count; if there is one, ``map_all_classes`` counts it as 0. There is no top-1: the field's
    code counts a hit only if a video's first label has the highest score (AR-Net, github.com/mengyuest/AR-Net), which
    says little; hit1 counts any label.

    Args:
        scores: of the logits. Softmax is the paper's, for a model trained with softmax cross-entropy; sigmoid ranks a
            class's clips by its logit alone, as binary cross-entropy trains it.

    Raises:
        ValueError: no clips, no labels, or NaN among the logits.
    """
    from torchmetrics.functional.classification import binary_average_precision

    lists, num_classes = top_lists(rank_scores(logits_NK, scores), label_sets_NK), logits_NK.shape[1]
    video_level = video_level_metrics(lists, label_sets_NK.sum(0))
    ranked_NK = rank_scores(logits_NK, scores)
    present = label_sets_NK.any(dim=0).nonzero().flatten().tolist()
    precision_P = torch.stack(
        [binary_average_precision(_locations(ranked_NK[:, k]), label_sets_NK[:, k].long()) for k in present]
    )
    metrics = {"map": precision_P.mean().item()}
    if len(present) < num_classes:
        metrics["map_all_classes"] = precision_P.sum().item() / num_classes
    return metrics | video_level


def rank_scores(logits_NK: Tensor, scores: ScoreKind) -> Tensor:
    """float32 (N, K) in the order of the scores over all videos, without rounding near 1: logits, or log p."""
    return logits_NK.float() if scores == "sigmoid" else logits_NK.double().log_softmax(1).float()


def _locations(scores_N: Tensor) -> Tensor:
    """Ranks as float64 (N,) in [0, 1], equal for equal scores: torchmetrics would apply a sigmoid to logits."""
    return scores_N.unique(return_inverse=True)[1].double() / len(scores_N)


def label_set_losses(logits_NK: Tensor, sets_NK: Tensor, scores: ScoreKind) -> Tensor:
    """Each video's log loss in nats, (N,), of the logits' dtype; their mean is a list's.

    Of sigmoid scores the sum of the binary cross-entropies over classes; of softmax scores the mean of the negative
    logarithms over a video's labels, 0 without one.
    """
    if scores == "sigmoid":
        return binary_cross_entropy_with_logits(logits_NK, sets_NK.to(logits_NK.dtype), reduction="none").sum(1)
    return -(logits_NK.log_softmax(1) * sets_NK).sum(1) / sets_NK.sum(1).clamp(min=1)
