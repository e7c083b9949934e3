"""From the answers to V views (clips x crops) of each video to one answer a video.

Shape letters: R rows, one a view shown; N videos; V views of a video; K classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from dali_pipes.config import Averaging
from reskd.outputs import ScoreKind


def rows_of_whole_videos(positions_R: Tensor, num_test_views: int) -> Tensor:
    """int64 (N, V): where the V rows of each video lie, videos and views in the order of the list.

    A video of which a view is missing is left out: it would be scored under another protocol than the others.

    Args:
        positions_R: int64, video * V + view, each at most once, in any order.
    """
    order_R = positions_R.argsort()
    videos_R = positions_R[order_R] // num_test_views
    is_whole_R = torch.bincount(videos_R)[videos_R] == num_test_views
    return order_R[is_whole_R].view(-1, num_test_views)


def average_views(logits_NVK: Tensor, average: Averaging, scores: ScoreKind = "softmax") -> Tensor:
    """float32 (N, K): logits whose softmax (or sigmoid) is the score of the video.

    ``logits`` is the mean of the logits; ``probabilities`` what gives the mean of the scores: its logarithm for
    softmax, the logarithm of its odds for sigmoid. The logits of one view are returned as they are.
    """
    num_test_views = logits_NVK.shape[1]
    if num_test_views == 1:
        return logits_NVK[:, 0]
    if average == "logits":
        return logits_NVK.mean(dim=1)
    if scores == "softmax":
        return logits_NVK.log_softmax(dim=2).logsumexp(dim=1) - math.log(num_test_views)
    # The odds from both sums, as 1 - mean would round to zero.
    return logsigmoid(logits_NVK).logsumexp(dim=1) - logsigmoid(-logits_NVK).logsumexp(dim=1)
