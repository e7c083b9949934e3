"""The metrics of YouTube-8M: GAP, mAP over top-20 lists, Hit@1 and PERR, from twenty classes per video.

Note [What is counted]
The definitions are those of YouTube-8M's evaluation (arXiv:1609.08675, section 5; github.com/google/youtube-8m,
eval_util.py and the two precision calculators). Where they are ambiguous, these rules apply:

- The pool has each video's 20 highest scores, or all K if there are fewer. GAP is the average precision of the whole
  pool: the sum of the precision at each hit, divided by the number of all labels of all videos, including those in no
  list. So 1 is out of reach where a video has more than 20 labels.
- ``map_top20`` is the mean over classes of the same on each class's part of the pool. A class without a video counts 0,
  as in YouTube-8M's code up to May 2019; ``map_top20_present`` leaves it out, as that code does since (commit 6062f7c).
  A class that occurs, but in no video's list, counts 0 in both.
- Hit@1 is the share of videos whose highest score is one of their labels. PERR is the mean over videos of the share of
  hits among a video's |G| highest scores, where G is the set of its labels. A video without a label counts 0 in both.
- Equal scores: within a video the lower class index is first. In a pool equal scores form one group, and the precision
  at each of its hits is that after the group's last score, as in scikit-learn and torchmetrics. So no metric depends on
  the order of the videos or on the number of ranks. (YouTube-8M shuffles them with a fixed seed.)

Shape letters: N videos, K classes, L = min(20, K) classes of a list, M = N * L.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reskd.distributed import World, gather_rows

TOP_K = 20
_ROWS_AT_ONCE = 1024


class TopLists(NamedTuple):
    """All that the metrics need of N videos: 188 bytes per video, whatever K is.

    Attributes:
        scores_NL: float32, or anything in the order of the scores; the highest first.
        classes_NL: int32, their classes.
        hits_NL: bool, whether the video has this label.
        num_right_N: int32, hits among the |G| highest scores.
        num_labels_N: int32, |G|.
    """

    scores_NL: Tensor
    classes_NL: Tensor
    hits_NL: Tensor
    num_right_N: Tensor
    num_labels_N: Tensor

    def rows(self, chosen: Tensor) -> TopLists:
        """The lists of some videos, chosen by bool (N,) or by index."""
        return TopLists(*(part[chosen] for part in self))

    def gathered(self, world: World) -> TopLists:
        """All ranks' videos, on the CPU. Every rank must have the same number."""
        return TopLists(*(gather_rows(part, world).cpu() for part in self))


def joined(parts: Sequence[TopLists]) -> TopLists:
    """The videos of all parts, one after another."""
    return TopLists(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def top_lists(scores_NK: Tensor, label_sets_NK: Tensor) -> TopLists:
    """The lists of some videos, on their device.

    Args:
        scores_NK: float32, or anything in the order of the scores.
        label_sets_NK: bool.
    """
    chunks = zip(scores_NK.split(_ROWS_AT_ONCE), label_sets_NK.split(_ROWS_AT_ONCE), strict=True)
    return joined([_top_lists(*chunk) for chunk in chunks])


def _top_lists(scores_NK: Tensor, label_sets_NK: Tensor) -> TopLists:
    num_classes = scores_NK.shape[1]
    length = min(TOP_K, num_classes)
    sorted_NK, classes_NK = scores_NK.sort(dim=1, descending=True, stable=True)
    hits_NK = label_sets_NK.gather(1, classes_NK)
    num_labels_N = label_sets_NK.sum(1)
    is_top_NK = torch.arange(num_classes, device=scores_NK.device) < num_labels_N[:, None]
    return TopLists(
        sorted_NK[:, :length].clone(),  # a view would keep all K in memory
        classes_NK[:, :length].int(),
        hits_NK[:, :length].clone(),
        (hits_NK & is_top_NK).sum(1).int(),
        num_labels_N.int(),
    )


def video_level_metrics(lists: TopLists, positives_K: Tensor) -> dict[str, float]:
    """gap, map_top20, hit1 and perr, each in [0, 1]; see Note [What is counted].

    Args:
        lists: of all videos, on the CPU, in any order.
        positives_K: int64, number of videos per class.

    Returns:
        The metrics, and ``map_top20_present``.

    Raises:
        ValueError: no videos, no label at all, or NaN among the scores.
    """
    _check(lists, positives_K)
    hits_M, scores_M, classes_M = (part.flatten() for part in (lists.hits_NL, lists.scores_NL, lists.classes_NL))
    gap = average_precisions(scores_M, hits_M, torch.zeros_like(classes_M), positives_K.sum()[None])
    precision_K = average_precisions(scores_M, hits_M, classes_M, positives_K)
    return {
        "gap": gap.item(),
        "map_top20": precision_K.mean().item(),
        "map_top20_present": precision_K[positives_K > 0].mean().item(),
        "hit1": lists.hits_NL[:, 0].double().mean().item(),
        "perr": (lists.num_right_N.double() / lists.num_labels_N.clamp(min=1)).mean().item(),
    }


def average_precisions(scores_M: Tensor, hits_M: Tensor, groups_M: Tensor, positives_G: Tensor) -> Tensor:
    """float64 (G,): per group, the sum of the precision at each hit divided by ``positives_G``; 0 without positives.

    Example: scores 0.9 0.8 0.7, hits 1 0 1, two positives: (1/1 + 2/3) / 2 = 5/6.

    Args:
        groups_M: group of each score, 0 to G - 1. Scores are compared only within a group.
    """
    order_M = scores_M.argsort(descending=True)
    order_M = order_M[groups_M[order_M].argsort(stable=True)]
    scores_M, hits_M, groups_M = scores_M[order_M], hits_M[order_M], groups_M[order_M].long()
    places_M = torch.arange(len(scores_M))
    starts_G = torch.searchsorted(groups_M, torch.arange(len(positives_G)))
    hits_so_far_M = torch.cat([torch.zeros(1, dtype=torch.int64), hits_M.cumsum(0)])
    # Where a score differs from its group's next one, all equal scores have been passed.
    is_last_M = torch.ones_like(hits_M, dtype=torch.bool)
    is_last_M[:-1] = (scores_M[1:] != scores_M[:-1]) | (groups_M[1:] != groups_M[:-1])
    last_P, group_P = places_M[is_last_M], groups_M[is_last_M]
    found_P = hits_so_far_M[last_P + 1] - hits_so_far_M[starts_G[group_P]]
    passed_P = last_P + 1 - starts_G[group_P]
    new_P = hits_so_far_M[last_P + 1].diff(prepend=torch.zeros(1, dtype=torch.int64))
    sums_G = torch.bincount(group_P, weights=new_P * found_P.double() / passed_P, minlength=len(positives_G))
    return sums_G / positives_G.clamp(min=1)


def _check(lists: TopLists, positives_K: Tensor) -> None:
    num_videos = len(lists.num_labels_N)
    if num_videos == 0:
        raise ValueError("expected at least one scored clip, found none; see the messages about the files above.")
    if not positives_K.any():
        raise ValueError(f"expected labels to score against, found none in {num_videos} videos; see the list.")
    num_bad = int(lists.scores_NL.isnan().any(1).sum())
    if num_bad:
        raise ValueError(
            f"expected a number for every class, found NaN in the outputs for {num_bad} of {num_videos} videos; the "
            "weights are damaged, or the precision is too low: try training.precision=fp32."
        )
