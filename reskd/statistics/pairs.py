"""Two models on the same videos, one run of each: differences with intervals, and McNemar's exact test.

Shape letters: N videos.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reskd.statistics.comparison import Difference, Verdict, has_enough_groups, minus, verdict_of_interval
from reskd.statistics.metrics import Metric
from reskd.statistics.predictions import Predictions, check_same_videos
from reskd.statistics.resamples import BootstrapSettings, Resamples, Values

TOP5 = Metric("top5", "top-5", False, 100, "points", 1)
_ALL_RESAMPLES_UP_TO = 2_200  # videos; mAP of a resample takes time that grows with their square
_FEWEST_RESAMPLES = 500


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


class PairedModels:
    """Models on the same videos, whose resamples are computed once.

    Args:
        models: name -> predictions of one run.
        settings: None: those of ``settings_for``.

    Raises:
        ValueError: videos, labels, groups or classes that differ; names one.
    """

    def __init__(self, models: Mapping[str, Predictions], settings: BootstrapSettings | None = None) -> None:
        self._models = {name: one.sorted_by_video() for name, one in models.items()}
        (first_name, first), *others = self._models.items()
        for name, one in others:
            check_same_videos(first, one, names=(first_name, name))
        self.settings = settings or settings_for(len(first.videos))
        self._draw = Resamples({name: {0: one} for name, one in self._models.items()}, self.settings)
        self._values: dict[str, dict[str, Values]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._models)

    def intervals(self, name: str) -> dict[str, tuple[float, float]]:
        """Name of a metric -> the interval of one model alone."""
        found = {metric: self._draw.interval(one.resampled_SR[0]) for metric, one in self._of(name).items()}
        if TOP5 in self._metrics:
            found[TOP5.name] = self._draw.interval(self._draw.means(_hits(self._models[name], 5).astype(np.float64)))
        return found

    def compare(self, first: str, second: str) -> PairedComparison:
        """The first minus the second. The interval is that of Note [Which interval] in comparison.py, for one seed."""
        a, b = self._models[first], self._models[second]
        differences = tuple(self._difference(metric, first, second) for metric in self._metrics)
        mcnemar = None if a.is_of_label_sets else mcnemar_of(_hits(a, 1), _hits(b, 1))
        counts = self._draw.num_videos, self._draw.num_groups
        return PairedComparison(differences, mcnemar, *counts, self.settings.confidence, self.settings.num_resamples)

    @property
    def _metrics(self) -> tuple[Metric, ...]:
        first = next(iter(self._models.values()))
        if first.is_of_label_sets or first.num_classes <= 5:
            return self._draw.metrics
        top1, *others = self._draw.metrics
        return top1, TOP5, *others

    def _of(self, name: str) -> dict[str, Values]:
        if name not in self._values:
            self._values[name] = self._draw.values(name)
        return self._values[name]

    def _difference(self, metric: Metric, first: str, second: str) -> Difference:
        if metric is TOP5:
            hits_N = _hits(self._models[first], 5).astype(np.float64) - _hits(self._models[second], 5)
            value, resampled_R = float(hits_N.mean()), self._draw.means(hits_N)
        else:
            a, b = self._of(first)[metric.name], self._of(second)[metric.name]
            value = float(minus(a.plain_S, b.plain_S)[0])
            resampled_R = minus(a.resampled_SR[0], b.resampled_SR[0])
        low, high = self._draw.interval(resampled_R)
        decides = has_enough_groups(self._draw.num_groups, self.settings.confidence)
        verdict: Verdict = verdict_of_interval(metric, low, high) if decides else "undecided"
        return Difference(metric, value, low, high, float(resampled_R.std(ddof=1)), verdict, {0: value})


def compare_pair(a: Predictions, b: Predictions, settings: BootstrapSettings | None = None) -> PairedComparison:
    """A minus B; raises as ``PairedModels``."""
    return PairedModels({"A": a, "B": b}, settings).compare("A", "B")


def settings_for(num_videos: int) -> BootstrapSettings:
    """The default, or as many resamples as so many videos leave time for."""
    share = min(1.0, (_ALL_RESAMPLES_UP_TO / num_videos) ** 2)
    return BootstrapSettings(num_resamples=max(_FEWEST_RESAMPLES, int(BootstrapSettings.num_resamples * share)))


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
