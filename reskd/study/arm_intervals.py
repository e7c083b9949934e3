"""The interval of an arm's own metrics, as bars and bands show it.

It is the percentile bootstrap over groups of videos and over seeds of Note [Which interval] in
statistics/comparison.py, for one arm. Two arms whose intervals overlap may still differ: only a paired comparison
tells.

Shape letters: N videos, S seeds, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from reskd.study.statistics.comparison import BootstrapSettings
from reskd.study.statistics.metrics import resampled_metrics
from reskd.study.statistics.predictions import Predictions


def arm_intervals(
    runs: Mapping[int, Predictions], settings: BootstrapSettings | None = None
) -> dict[str, tuple[float, float]]:
    """Name of a metric -> (low, high) of its mean over the seeds.

    Args:
        runs: seed -> predictions, joined over splits, all of the same videos; at least one.
    """
    settings = settings or BootstrapSettings()
    generator = np.random.default_rng(settings.seed)

    def times_drawn(number: int) -> np.ndarray:
        return generator.multinomial(number, np.full(number, 1 / number), size=settings.num_resamples)

    ordered = [runs[seed].sorted_by_video() for seed in sorted(runs)]
    names, group_N = np.unique(np.array(ordered[0].groups, dtype=object).astype(str), return_inverse=True)
    weights_RN = times_drawn(len(names))[:, group_N]
    num_seeds = len(ordered)
    spread = np.sqrt(num_seeds / max(num_seeds - 1, 1))
    shares_RS = 1 / num_seeds + spread * (times_drawn(num_seeds) - 1) / num_seeds
    resampled = [resampled_metrics(run, weights_RN) for run in ordered]
    outside = 50 * (1 - settings.confidence)
    found = {}
    for name in resampled[0]:
        values_R = np.einsum("rs,sr->r", shares_RS, np.stack([one[name] for one in resampled]))
        low, high = np.percentile(values_R, (outside, 100 - outside))
        found[name] = (float(low), float(high))
    return found
