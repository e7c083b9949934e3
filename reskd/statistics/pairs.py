"""Two models on the same videos, one run of each: differences with intervals, and McNemar's exact test.

Shape letters: N videos.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reskd.statistics.comparison import Difference, Verdict, compare_arms, has_enough_groups, verdict_of_interval
from reskd.statistics.metrics import Metric
from reskd.statistics.predictions import Predictions
from reskd.statistics.resamples import BootstrapSettings, Resamples

TOP5 = Metric("top5", "top-5", False, 100, "points", 1)
_ALL_RESAMPLES_UP_TO = 20_000  # videos; mAP of a resample takes time that grows with their square
_FEWEST_RESAMPLES = 200


class McNemar(NamedTuple):
    """The videos that one model alone answers right.

    Attributes:
        only_first, only_second: how many.
        p: of as uneven a division, or a more uneven one, if both models are equally often right.
    """

    only_first: int
    only_second: int
    p: float


class PairedComparison(NamedTuple):
    """Model A against model B, on the videos alone: another training of either may differ by more.

    Attributes:
        differences: A minus B, one a metric; their verdicts are on these two models.
        mcnemar: of the best answers; None for videos with several labels.
        num_videos, num_groups, confidence, num_resamples: of the intervals.
    """

    differences: tuple[Difference, ...]
    mcnemar: McNemar | None
    num_videos: int
    num_groups: int
    confidence: float
    num_resamples: int

    @property
    def has_enough_groups(self) -> bool:
        return has_enough_groups(self.num_groups, self.confidence)

    def of(self, metric: str) -> Difference:
        """The difference in the metric of this name."""
        return next(one for one in self.differences if one.metric.name == metric)


def compare_pair(a: Predictions, b: Predictions, settings: BootstrapSettings | None = None) -> PairedComparison:
    """A minus B. The interval is the percentile bootstrap over groups of videos of Note [Which interval].

    Of more than 20,000 videos fewer resamples are drawn, at least 200.

    Raises:
        ValueError: videos, labels, groups or classes that differ; names one.
    """
    settings = settings or settings_for(len(a.videos))
    compared = compare_arms({0: a}, {0: b}, settings)
    decides = has_enough_groups(compared.num_groups, settings.confidence)
    differences = [_with_verdict(one, decides) for one in compared.differences]
    mcnemar = None
    if not a.is_of_label_sets:
        a, b = a.sorted_by_video(), b.sorted_by_video()
        mcnemar = mcnemar_of(_hits(a, 1), _hits(b, 1))
        if a.num_classes > 5:
            differences.insert(1, _with_verdict(_difference_in_top5(a, b, settings), decides))
    num_videos, num_groups = compared.num_videos, compared.num_groups
    counts = num_videos, num_groups, settings.confidence, settings.num_resamples
    return PairedComparison(tuple(differences), mcnemar, *counts)


def settings_for(num_videos: int) -> BootstrapSettings:
    """2000 resamples, or as many as so many videos leave time for."""
    share = min(1.0, (_ALL_RESAMPLES_UP_TO / num_videos) ** 2)
    return BootstrapSettings(num_resamples=max(_FEWEST_RESAMPLES, int(2000 * share)))


def mcnemar_of(first_N: NDArray[np.bool_], second_N: NDArray[np.bool_]) -> McNemar:
    """McNemar's exact, two-sided test (McNemar, Psychometrika 12, 1947) of two models' right answers.

    Of n videos that one model alone answers right, the smaller part k is binomial with probability 1/2 if the models
    are equally good: p = min(1, 2 P(X <= k)). It takes videos as independent, so videos of one group make it too small.

    Args:
        first_N, second_N: whether each video is answered right.

    Raises:
        ValueError: arrays of two lengths.
    """
    if first_N.shape != second_N.shape:
        raise ValueError(f"expected the answers of the same videos, found {first_N.shape = } and {second_N.shape = }.")
    only_first, only_second = int((first_N & ~second_N).sum()), int((second_N & ~first_N).sum())
    number = only_first + only_second
    ways, total = 1, 0  # of choosing k of the n videos, and their sum
    for k in range(min(only_first, only_second) + 1):
        total += ways
        ways = ways * (number - k) // (k + 1)
    return McNemar(only_first, only_second, float(min(Fraction(1), Fraction(2 * total, 2**number))))


def top5_of(predictions: Predictions) -> float:
    """The share of videos whose class is among the five best, as an evaluation counts them."""
    return float(_hits(predictions, 5).mean())


def _hits(predictions: Predictions, count: int) -> NDArray[np.bool_]:
    """bool (N,): whether the class is among the ``count`` best; of equal logits the first classes are."""
    logits_NK = predictions.logits_NK
    rows = np.arange(len(logits_NK))
    own_N1 = logits_NK[rows, predictions.labels_N][:, None]
    is_before_NK = np.arange(predictions.num_classes) < predictions.labels_N[:, None]
    return ((logits_NK > own_N1) | ((logits_NK == own_N1) & is_before_NK)).sum(1) < count


def _difference_in_top5(a: Predictions, b: Predictions, settings: BootstrapSettings) -> Difference:
    hits_N = _hits(a, 5).astype(np.float64) - _hits(b, 5)
    draw = Resamples({"A": {0: a}}, settings)
    resampled_R = draw.means(hits_N)
    low, high = draw.interval(resampled_R)
    value, error = float(hits_N.mean()), float(resampled_R.std(ddof=1))
    return Difference(TOP5, value, low, high, error, "undecided", {0: value})


def _with_verdict(one: Difference, decides: bool) -> Difference:
    verdict: Verdict = verdict_of_interval(one.metric, one.low, one.high) if decides else "undecided"
    return one._replace(verdict=verdict)
