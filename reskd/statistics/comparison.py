"""Arms on the same videos and seeds: differences with bootstrap intervals, shares of a gap, an arm's own intervals.

Note [Which interval]
Videos of one group (one scene, one person) are alike, and runs of one arm differ by their seed. So each resample draws
groups with replacement, and seeds with replacement, and computes the mean difference anew. Both arms see the same
resample, as the same video is hard or easy for both. The interval holds the middle 95 % of the resampled differences
(percentile bootstrap: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13; both factors drawn:
Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1, 2007, where its variance counts what is of one group and
one seed three times: too wide where seeds scatter little).

A plain draw of S seeds understates their scatter by sqrt((S - 1) / S), so the shares of the seeds in a resample are
spread from 1 / S by the inverse (rescaled bootstrap: Rao and Wu, JASA 83, 1988, page 231). In a simulation of equal
arms (benchmarks/statistics/bench_coverage.py), 3 seeds then gave 1 to 6 % of verdicts other than undecided where top-1
deviates by 1.4 to 2.5 points between seeds, and 10 to 13 % at 5 points; 5 seeds 2 to 5 % and 7 to 11 %; one seed 4 to
34 % and 54 to 66 %, as it says nothing about other seeds: so it decides nothing. Nor do fewer than 6 groups, as a test
by signs needs 2 * 0.5^G <= 5 %.

Shape letters: N videos, S seeds, R resamples, G groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from reskd.statistics.metrics import Metric, Numbers
from reskd.statistics.predictions import Predictions, check_same_videos
from reskd.statistics.resamples import Arm, BootstrapSettings, Resamples

Verdict = Literal["better", "worse", "undecided"]
_NO_GAP = {"undecided": "the gap may be nothing", "worse": "the teacher is worse than the baseline"}
_TOO_FEW = "too few seeds or groups of videos"


class Difference(NamedTuple):
    """One metric of arm A minus that of arm B, mean over seeds.

    Attributes:
        metric: how it is read.
        value: the difference on the videos as they are.
        low, high: its interval.
        standard_error: the deviation of the resampled differences.
        verdict: on A; undecided if the interval holds 0, or if there are too few seeds or groups.
        of_seeds: seed -> its difference.
    """

    metric: Metric
    value: float
    low: float
    high: float
    standard_error: float
    verdict: Verdict
    of_seeds: Mapping[int, float]

    @property
    def num_seeds_better(self) -> int:
        """Seeds in which A is better than B."""
        return sum(is_better(self.metric, value) for value in self.of_seeds.values())


class Comparison(NamedTuple):
    """Arm A against arm B; one difference a metric, in the order of ``kinds_of``."""

    differences: tuple[Difference, ...]
    num_seeds: int
    num_videos: int
    num_groups: int
    confidence: float
    num_resamples: int

    @property
    def can_decide(self) -> bool:
        """Whether there are enough seeds and groups for a verdict; see Note [Which interval]."""
        return _can_decide(self.num_seeds, self.num_groups, self.confidence)


class GapShare(NamedTuple):
    """The share of the way from a baseline to its teacher that a student went, for one metric.

    Attributes:
        share, low, high: None where there is no gap to take a share of.
        reason: why there is none; "" where there is one.
    """

    metric: Metric
    share: float | None
    low: float | None
    high: float | None
    reason: str = ""


def compare_arms(a: Arm, b: Arm, settings: BootstrapSettings | None = None) -> Comparison:
    """A minus B over their common seeds and their videos. See Note [Which interval].

    Raises:
        ValueError: no common seed, or videos, labels, groups or classes that differ; names one.
    """
    settings = settings or BootstrapSettings()
    seeds = _common_seeds(a, b)
    draw = Resamples(_checked({"arm A": _chosen(a, seeds), "arm B": _chosen(b, seeds)}), settings)
    of_a, of_b = draw.values("arm A"), draw.values("arm B")
    shares_RS = draw.seeds(len(seeds))
    can_decide = _can_decide(len(seeds), draw.num_groups, settings.confidence)
    differences = []
    for metric in draw.metrics:
        plain_S = minus(of_a[metric.name].plain_S, of_b[metric.name].plain_S)
        resampled_SR = minus(of_a[metric.name].resampled_SR, of_b[metric.name].resampled_SR)
        resampled_R = np.einsum("rs,sr->r", shares_RS, resampled_SR)
        low, high = draw.interval(resampled_R)
        verdict = verdict_of_interval(metric, low, high) if can_decide else "undecided"
        error = float(resampled_R.std(ddof=1))
        of_seeds = dict(zip(seeds, plain_S.tolist(), strict=True))
        differences.append(Difference(metric, float(plain_S.mean()), low, high, error, verdict, of_seeds))
    counts = len(seeds), draw.num_videos, draw.num_groups
    return Comparison(tuple(differences), *counts, settings.confidence, settings.num_resamples)


def share_of_gap(
    student: Arm, baseline: Arm, teacher: Arm, settings: BootstrapSettings | None = None
) -> tuple[GapShare, ...]:
    """(student - baseline) / (teacher - baseline) for each metric, over the seeds common to student and baseline.

    The teacher's runs are paired by seed if it has all of these seeds; else its seeds are drawn for themselves, as one
    teacher often serves all students. The share is then about the teacher's runs as they are: one run has no scatter.
    A share is given only where the teacher is better than the baseline.

    Raises:
        ValueError: student and baseline have no common seed, the teacher has no run, or videos differ.
    """
    settings = settings or BootstrapSettings()
    seeds = _common_seeds(student, baseline)
    is_paired = set(seeds) <= set(teacher)
    if not teacher:
        raise ValueError("expected at least one run of the teacher, found none; run the study first.")
    teacher_seeds = seeds if is_paired else sorted(teacher)
    draw = Resamples(
        _checked(
            {
                "student": _chosen(student, seeds),
                "baseline": _chosen(baseline, seeds),
                "teacher": _chosen(teacher, teacher_seeds),
            }
        ),
        settings,
    )
    shares_RS = draw.seeds(len(seeds))
    shares_RT = shares_RS if is_paired else draw.seeds(len(teacher_seeds))
    students, baselines, teachers = draw.values("student"), draw.values("baseline"), draw.values("teacher")
    can_decide = _can_decide(len(seeds), draw.num_groups, settings.confidence)
    found = []
    for metric in draw.metrics:
        s, b, t = (values[metric.name] for values in (students, baselines, teachers))
        s_R, b_R = (np.einsum("rs,sr->r", shares_RS, values.resampled_SR) for values in (s, b))
        gap_R = minus(np.einsum("rt,tr->r", shares_RT, t.resampled_SR), b_R)
        gap = minus(t.plain_S.mean(), b.plain_S.mean())
        verdict = verdict_of_interval(metric, *draw.interval(gap_R))
        if not can_decide or verdict != "better":
            reason = _NO_GAP[verdict] if can_decide else _TOO_FEW
            found.append(GapShare(metric, None, None, None, reason))
            continue
        share = minus(s.plain_S.mean(), b.plain_S.mean()) / gap
        low, high = draw.interval(minus(s_R, b_R)[gap_R != 0] / gap_R[gap_R != 0])
        found.append(GapShare(metric, float(share), low, high))
    return tuple(found)


def arm_intervals(arm: Arm, settings: BootstrapSettings | None = None) -> dict[str, tuple[float, float]]:
    """Name of a metric -> (low, high) of one arm's mean over its seeds, for bars and bands. See Note [Which interval].

    Two arms whose intervals overlap may still differ: only a paired comparison tells.

    Raises:
        ValueError: the runs are not of the same videos; names one.
    """
    draw = Resamples(_checked({"the arm": _chosen(arm, sorted(arm))}), settings or BootstrapSettings())
    shares_RS = draw.seeds(len(arm))
    return {
        name: draw.interval(np.einsum("rs,sr->r", shares_RS, values.resampled_SR))
        for name, values in draw.values("the arm").items()
    }


def is_better(metric: Metric, difference: float) -> bool:
    return difference < 0 if metric.lower_is_better else difference > 0


def has_enough_groups(num_groups: int, confidence: float) -> bool:
    """Whether so many groups of videos can decide anything; see Note [Which interval]."""
    return 2 * 0.5**num_groups <= 1 - confidence


def _can_decide(num_seeds: int, num_groups: int, confidence: float) -> bool:
    return num_seeds > 1 and has_enough_groups(num_groups, confidence)


def minus(a: Numbers, b: Numbers) -> Numbers:
    """Sums in another order differ in the last digits; equal arms differ by exactly 0."""
    return np.round(a - b, 12)


def verdict_of_interval(metric: Metric, low: float, high: float) -> Verdict:
    if low <= 0 <= high:
        return "undecided"
    return "better" if is_better(metric, low) else "worse"


def _common_seeds(a: Arm, b: Arm) -> list[int]:
    seeds = sorted(set(a) & set(b))
    if not seeds:
        shown = " and ".join(", ".join(map(str, sorted(arm))) or "none" for arm in (a, b))
        raise ValueError(f"expected two arms with a common seed, found the seeds {shown}; run both with equal seeds.")
    return seeds


def _chosen(arm: Arm, seeds: Sequence[int]) -> dict[int, Predictions]:
    return {seed: arm[seed].sorted_by_video() for seed in seeds}


def _checked(arms: Mapping[str, Arm]) -> Mapping[str, Arm]:
    """The same, after a check that all runs of all arms are of the same videos."""
    runs = [(f"{name}, seed {seed}", run) for name, arm in arms.items() for seed, run in arm.items()]
    for name, run in runs[1:]:
        check_same_videos(runs[0][1], run, names=(runs[0][0], name))
    return arms
