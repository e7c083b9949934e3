from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reskd.choices import ScoreKind
from reskd.statistics.comparison import (
    BootstrapSettings,
    Comparison,
    Difference,
    compare_arms,
    is_better,
    share_of_gap,
)
from reskd.statistics.metrics import LABEL_SET_METRICS, METRICS, metrics_of
from reskd.statistics.predictions import Predictions

FEW = BootstrapSettings(num_resamples=400)
NUM_CLASSES = 4


def run(strength: float, seed: int, *, num_videos: int = 120, group_size: int = 4) -> Predictions:
    """Random logits plus ``strength`` for the true class; all runs are of the same videos."""
    labels_N = np.arange(num_videos) // group_size % NUM_CLASSES
    noise_NK = np.random.default_rng(seed).normal(size=(num_videos, NUM_CLASSES))
    logits_NK = noise_NK + strength * np.eye(NUM_CLASSES)[labels_N]
    videos = tuple(f"{row:04}.mp4" for row in range(num_videos))
    groups = tuple(f"g{row // group_size}" for row in range(num_videos))
    return Predictions(videos, groups, labels_N, logits_NK.astype(np.float32))


def arm(strength: float, *, seeds: int = 3, first_noise: int = 0) -> dict[int, Predictions]:
    return {seed: run(strength, first_noise + seed) for seed in range(seeds)}


def by_name(comparison: Comparison) -> dict[str, Difference]:
    return {difference.metric.name: difference for difference in comparison.differences}


def test_equal_arms_differ_by_exactly_nothing() -> None:
    comparison = compare_arms(arm(1.0), arm(1.0), FEW)
    assert [difference.metric for difference in comparison.differences] == list(METRICS)
    for difference in comparison.differences:
        assert (difference.value, difference.low, difference.high, difference.standard_error) == (0, 0, 0, 0)
        assert (difference.verdict, difference.num_seeds_better) == ("undecided", 0)
    assert (comparison.num_seeds, comparison.num_videos, comparison.num_groups) == (3, 120, 30)


def test_an_arm_that_is_better_on_all_videos_is_better_in_each_metric_and_the_other_is_worse() -> None:
    good, bad = arm(8.0), arm(-8.0)
    for difference in compare_arms(good, bad, FEW).differences:
        assert (difference.verdict, difference.num_seeds_better) == ("better", 3)
    for difference in compare_arms(bad, good, FEW).differences:
        assert (difference.verdict, difference.num_seeds_better) == ("worse", 0)


def test_a_lower_log_loss_is_better() -> None:
    assert {metric.name: is_better(metric, -0.1) for metric in METRICS} == {
        "top1": False,
        "map": False,
        "mean_class_accuracy": False,
        "log_loss": True,
    }


def test_a_difference_of_rounding_is_none() -> None:
    # Right in 1, 2 and 3 of 10 videos a class, and in 3, 2 and 1: the sums of shares differ in their last digit.
    assert 0.1 + 0.2 + 0.3 > 0.3 + 0.2 + 0.1

    def of(counts: list[int]) -> dict[int, Predictions]:
        labels_N = np.arange(30) // 10
        answers_N = np.where(np.arange(30) % 10 < np.array(counts)[labels_N], labels_N, (labels_N + 1) % 3)
        videos = tuple(f"{row:02}" for row in range(30))
        return {seed: Predictions(videos, videos, labels_N, np.eye(3, dtype=np.float32)[answers_N]) for seed in (0, 1)}

    found = by_name(compare_arms(of([1, 2, 3]), of([3, 2, 1]), FEW))["mean_class_accuracy"]
    assert (found.value, found.num_seeds_better) == (0, 0)


def of_answers(right_N: np.ndarray, group_size: int) -> Predictions:
    """Two classes; the model is right where ``right_N`` is."""
    num_videos = len(right_N)
    labels_N = np.arange(num_videos) % 2
    answers_N = np.where(right_N, labels_N, 1 - labels_N)
    videos = tuple(f"{row:04}" for row in range(num_videos))
    groups = tuple(f"g{row // group_size}" for row in range(num_videos))
    return Predictions(videos, groups, labels_N, 3 * np.eye(2, dtype=np.float32)[answers_N])


@pytest.mark.parametrize("group_size", [1, 10])
def test_the_standard_error_of_top1_is_that_of_a_mean_over_groups(group_size: int) -> None:
    # A is right on 320 of 400 videos and B on none. Whole groups of 10 are right or wrong together, so there are 400
    # or 40 independent answers, each right with p = 0.8.
    right_N = np.arange(400) // 10 % 5 != 0
    comparison = compare_arms(
        {0: of_answers(right_N, group_size)},
        {0: of_answers(np.zeros(400, bool), group_size)},
        BootstrapSettings(num_resamples=4000),
    )
    top1 = by_name(comparison)["top1"]
    expected = np.sqrt(0.8 * 0.2 / (400 / group_size))
    assert top1.value == 0.8
    assert top1.standard_error == pytest.approx(expected, rel=0.06)
    assert (top1.high - top1.low) / 2 == pytest.approx(1.96 * expected, rel=0.1)


def test_seeds_are_drawn_too_and_their_scatter_is_not_understated() -> None:
    # All videos are right for one seed and wrong for the other: only the draw of seeds makes a difference.
    always, never = of_answers(np.ones(40, bool), 1), of_answers(np.zeros(40, bool), 1)
    top1 = by_name(compare_arms({0: always, 1: never}, {0: never, 1: never}, FEW))["top1"]
    assert top1.value == 0.5
    # The standard error of the mean of 0 and 1, whose deviation (n - 1) is sqrt(1 / 2).
    assert top1.standard_error == pytest.approx(np.sqrt(1 / 2) / np.sqrt(2), rel=0.1)
    assert (top1.low, top1.high) == pytest.approx((0.5 - np.sqrt(1 / 2), 0.5 + np.sqrt(1 / 2)))
    assert (top1.verdict, top1.num_seeds_better, top1.of_seeds) == ("undecided", 1, {0: 1, 1: 0})


def test_intervals_hold_a_known_difference_about_as_often_as_they_say() -> None:
    # Independent answers: A right with p = 0.8, B with p = 0.6, so the difference is 0.2.
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(60):
        a = {0: of_answers(generator.random(100) < 0.8, 1)}
        b = {0: of_answers(generator.random(100) < 0.6, 1)}
        top1 = by_name(compare_arms(a, b, FEW))["top1"]
        held += top1.low <= 0.2 <= top1.high
    assert 52 <= held <= 60  # fewer than 52 has a probability below 1 %


def test_only_common_seeds_count_and_the_order_of_videos_does_not() -> None:
    a, b = arm(1.5, seeds=3), arm(0.5, seeds=2, first_noise=50)
    order = np.random.default_rng(0).permutation(120)
    turned = {
        seed: Predictions(
            tuple(run.videos[row] for row in order),
            tuple(run.groups[row] for row in order),
            run.labels_N[order],
            run.logits_NK[order],
        )
        for seed, run in b.items()
    }
    found = compare_arms(a, turned, FEW)
    assert found.num_seeds == 2
    assert found == compare_arms({0: a[0], 1: a[1]}, b, FEW)


def test_arms_of_label_sets_are_compared_by_their_own_metrics() -> None:
    generator, sets_NK = np.random.default_rng(0), np.eye(4, dtype=bool)[np.arange(120) % 4]
    sets_NK |= np.roll(sets_NK, 1, axis=1)
    videos = tuple(map(str, range(120)))

    def of(strength: float) -> dict[int, Predictions]:
        logits = [(generator.normal(size=(120, 4)) + strength * sets_NK).astype(np.float32) for _ in range(3)]
        labels_N = sets_NK.argmax(axis=1)
        return dict(enumerate(Predictions(videos, videos, labels_N, one, sets_NK, "sigmoid") for one in logits))

    better, worse, best = of(2), of(1), of(4)
    found = compare_arms(better, worse, FEW)
    assert [one.metric for one in found.differences] == list(LABEL_SET_METRICS)
    assert {one.metric.name: one.verdict for one in found.differences} == {
        metric.name: "better" for metric in LABEL_SET_METRICS
    }
    gap = found.differences[0]
    assert gap.low < gap.value < gap.high
    mean = np.mean([metrics_of(better[seed])["gap"] - metrics_of(worse[seed])["gap"] for seed in range(3)])
    assert gap.value == pytest.approx(mean)
    assert [one.metric for one in share_of_gap(better, worse, best, FEW)] == list(LABEL_SET_METRICS)


@pytest.mark.parametrize(
    ("num_seeds", "num_groups", "verdict"), [(2, 6, "better"), (2, 5, "undecided"), (1, 30, "undecided")]
)
def test_one_seed_or_too_few_groups_decide_nothing(num_seeds: int, num_groups: int, verdict: str) -> None:
    def of(strength: float) -> dict[int, Predictions]:
        return {seed: run(strength, seed, num_videos=4 * num_groups) for seed in range(num_seeds)}

    found = compare_arms(of(8), of(-8), FEW)
    assert {one.verdict for one in found.differences} == {verdict}
    assert found.can_decide == (verdict == "better")
    gaps = share_of_gap(of(0), of(-8), of(8), FEW)
    assert {one.share is not None for one in gaps} == {verdict == "better"}
    assert {one.reason for one in gaps} == {"" if verdict == "better" else "too few seeds or groups of videos"}


def test_arms_without_a_common_seed_and_arms_of_other_videos_are_refused() -> None:
    with pytest.raises(ValueError, match="a common seed, found the seeds 0 and 1, 2"):
        compare_arms({0: run(1, 0)}, {1: run(1, 0), 2: run(1, 0)}, FEW)
    with pytest.raises(ValueError, match="0116.mp4 is among those of arm A, seed 0 and not of arm B, seed 0"):
        compare_arms({0: run(1, 0)}, {0: run(1, 0, num_videos=116)}, FEW)


def test_the_share_of_the_gap_is_the_students_way_to_its_teacher() -> None:
    answers = np.arange(200)
    baseline = {seed: of_answers(answers % 10 < 5, 1) for seed in range(2)}
    student = {seed: of_answers(answers % 10 < 6, 1) for seed in range(2)}
    teacher = {seed: of_answers(answers % 10 < 9, 1) for seed in range(2)}
    top1 = share_of_gap(student, baseline, teacher, FEW)[0]
    assert top1.metric.name == "top1"
    assert top1.share == pytest.approx(0.25)
    assert top1.low is not None and top1.high is not None
    assert 0.1 < top1.low < 0.25 < top1.high < 0.4
    log_loss = share_of_gap(student, baseline, teacher, FEW)[-1]
    assert log_loss.share == pytest.approx(0.25)


@pytest.mark.parametrize("seeds", [[9], [8, 9]])
def test_teachers_of_other_seeds_may_serve_all_students(seeds: list[int]) -> None:
    shares = share_of_gap(arm(2.0), arm(0.5, first_noise=50), {seed: run(6.0, 90 + seed) for seed in seeds}, FEW)
    assert all(one.share is not None and 0 < one.share < 1 for one in shares)


def test_there_is_no_share_of_a_gap_that_may_be_nothing() -> None:
    for one in share_of_gap(arm(2.0), arm(1.0, first_noise=50), arm(1.0, first_noise=50), FEW):
        assert (one.share, one.low, one.high, one.reason) == (None, None, None, "the gap may be nothing")


def test_there_is_no_share_of_the_way_to_a_teacher_that_is_worse() -> None:
    for one in share_of_gap(arm(2.0), arm(4.0), arm(-4.0), FEW):
        assert (one.share, one.reason) == (None, "the teacher is worse than the baseline")


@pytest.mark.parametrize("settings", [{"num_resamples": 10}, {"confidence": 1.0}, {"confidence": 0.1}])
def test_settings_that_give_no_interval_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least 100 resamples"):
        BootstrapSettings(**settings)  # type: ignore[arg-type]


def test_log_losses_of_two_kinds_of_scores_are_not_compared() -> None:
    def with_sets(scores: ScoreKind) -> dict[int, Predictions]:
        sets_NK = np.eye(NUM_CLASSES, dtype=bool)[run(1.0, 0).labels_N]
        return {seed: replace(one, label_sets_NK=sets_NK, scores=scores) for seed, one in arm(1.0).items()}

    found = compare_arms(with_sets("sigmoid"), with_sets("softmax"), FEW)
    assert [one.metric for one in found.differences] == [one for one in LABEL_SET_METRICS if one.name != "log_loss"]
