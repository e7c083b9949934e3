"""Averages the outputs for the V test views (clips x crops) of each video.

Shape letters: R rows, one per test view; N videos; V test views of a video; K classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from dali_pipes.sampling_config import Averaging
from reskd.choices import ScoreKind


def rows_of_whole_videos(positions_R: Tensor, num_test_views: int) -> Tensor:
    """int64 (N, V): indices of the V rows of each video, videos and test views in list order.

    A video that lacks a test view is left out, as it would be scored under another protocol than the others.

    Args:
        positions_R: int64, video * V + view, each at most once, in any order.
    """
    order_R = positions_R.argsort()
    videos_R = positions_R[order_R] // num_test_views
    is_whole_R = torch.bincount(videos_R)[videos_R] == num_test_views
    return order_R[is_whole_R].view(-1, num_test_views)


def average_views(logits_NVK: Tensor, average: Averaging, scores: ScoreKind = "softmax") -> Tensor:
    """float32 (N, K): logits whose softmax (or sigmoid) is the score of the video.

    ``logits`` is the mean of the logits. ``probabilities`` takes the mean of the scores and returns its logarithm for
    softmax, the logarithm of its odds for sigmoid. The logits of a single test view are returned unchanged.
    """
    num_test_views = logits_NVK.shape[1]
    if num_test_views == 1:
        return logits_NVK[:, 0]
    if average == "logits":
        return logits_NVK.mean(dim=1)
    if scores == "softmax":
        return logits_NVK.log_softmax(dim=2).logsumexp(dim=1) - math.log(num_test_views)
    # The odds use both sums, as 1 - mean would round to zero.
    return logsigmoid(logits_NVK).logsumexp(dim=1) - logsigmoid(-logits_NVK).logsumexp(dim=1)
