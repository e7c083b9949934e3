"""The metrics of arms on many resamples of their videos and seeds; all arms of a comparison see the same resamples.

Shape letters: N videos, S seeds, R resamples, C resamples at once, G groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reskd.statistics.metrics import Numbers, kinds_of, metrics_of, resampled_metrics
from reskd.statistics.predictions import Predictions

Arm = Mapping[int, Predictions]  # seed -> predictions, joined over splits
_WEIGHTS_AT_ONCE = 2**23  # 64 MiB of int64


@dataclass(frozen=True)
class BootstrapSettings:
    """How intervals are made: the number of resamples, the generator's seed, and the share that an interval holds."""

    num_resamples: int = 10_000  # of 2,000 the ends of an interval move by 0.1 to 0.2 points with the generator's seed
    seed: int = 0
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if self.num_resamples < 100 or not 0.5 <= self.confidence < 1:
            raise ValueError(
                "expected at least 100 resamples and a confidence from 0.5 to below 1, found "
                f"{self.num_resamples} and {self.confidence}; change these settings."
            )


class Values(NamedTuple):
    """Of one metric and arm: (S,) on the videos as they are, and (S, R) on the resamples."""

    plain_S: Numbers
    resampled_SR: Numbers


class Resamples:
    """The resamples of one comparison: the same groups for all its arms.

    Args:
        arms: name -> seed -> predictions, sorted by video, all of the same videos.
    """

    def __init__(self, arms: Mapping[str, Arm], settings: BootstrapSettings) -> None:
        self._arms, self._settings = arms, settings
        self._generator = np.random.default_rng(settings.seed)
        first = next(iter(next(iter(arms.values())).values()))
        names, group_N = np.unique(np.array(first.groups, dtype=object).astype(str), return_inverse=True)
        scores = {run.scores for arm in arms.values() for run in arm.values()}
        # The log losses of softmax and of sigmoid scores are different quantities.
        self.metrics = tuple(one for one in kinds_of(first) if len(scores) == 1 or one.name != "log_loss")
        self.num_videos, self.num_groups = len(first.videos), len(names)
        self._group_N = group_N
        self._times_RG = self._times_drawn(self.num_groups).astype(np.int32)

    def seeds(self, num_seeds: int) -> Numbers:
        """The share of each seed in each resample, (R, S), spread as Note [Which interval] says."""
        shares_RS = self._times_drawn(num_seeds) / num_seeds
        spread = np.sqrt(num_seeds / max(num_seeds - 1, 1))
        return 1 / num_seeds + spread * (shares_RS - 1 / num_seeds)

    def values(self, arm: str) -> dict[str, Values]:
        """Of each metric, by its name."""
        runs = self._arms[arm].values()
        plain = [metrics_of(run) for run in runs]
        resampled = [self._resampled(run) for run in runs]
        return {
            metric.name: Values(
                np.array([one[metric.name] for one in plain]), np.stack([one[metric.name] for one in resampled])
            )
            for metric in self.metrics
        }

    def _resampled(self, run: Predictions) -> dict[str, Numbers]:
        """The metrics of every resample, some resamples at a time: a weight a video and resample takes much memory."""
        num_resamples = len(self._times_RG)
        num_parts = min(num_resamples, -(-num_resamples * self.num_videos // _WEIGHTS_AT_ONCE))
        parts = np.array_split(self._times_RG, num_parts)
        found = [resampled_metrics(run, part_CG[:, self._group_N].astype(np.int64)) for part_CG in parts]
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}

    def means(self, values_N: Numbers) -> Numbers:
        """The mean over videos in each resample, (R,), of one value a video, in the order of the sorted videos."""
        sums_G = np.bincount(self._group_N, values_N, self.num_groups)
        counts_G = np.bincount(self._group_N, minlength=self.num_groups)
        return (self._times_RG @ sums_G) / (self._times_RG @ counts_G)

    def interval(self, values_R: Numbers) -> tuple[float, float]:
        outside = 50 * (1 - self._settings.confidence)
        low, high = np.percentile(values_R, (outside, 100 - outside))
        return float(low), float(high)

    def _times_drawn(self, number: int) -> NDArray[np.int64]:
        """How often each of ``number`` things is drawn in each resample, (R, number)."""
        return self._generator.multinomial(number, np.full(number, 1 / number), size=self._settings.num_resamples)
