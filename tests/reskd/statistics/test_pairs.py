from __future__ import annotations

import numpy as np
import pytest

from reskd.evaluation.metrics import classification_metrics
from reskd.statistics.comparison import compare_arms
from reskd.statistics.pairs import TOP5, compare_pair, mcnemar_of, settings_for, top5_of
from reskd.statistics.predictions import Predictions
from reskd.statistics.resamples import BootstrapSettings

FEW = BootstrapSettings(num_resamples=400)


def run(strength: float, seed: int, *, num_videos: int = 120, num_classes: int = 8, group_size: int = 1) -> Predictions:
    labels_N = np.arange(num_videos) % num_classes
    noise_NK = np.random.default_rng(seed).normal(size=(num_videos, num_classes))
    logits_NK = (noise_NK + strength * np.eye(num_classes)[labels_N]).astype(np.float32)
    videos = tuple(f"{row:05}.mp4" for row in range(num_videos))
    groups = tuple(f"g{row // group_size}" for row in range(num_videos))
    return Predictions(videos, groups, labels_N, logits_NK)


def answers(only_first: int, only_second: int, both: int = 3) -> tuple[np.ndarray, np.ndarray]:
    counts = (only_first, only_second, both, 2)
    first = np.repeat([True, False, True, False], counts)
    return first, np.repeat([False, True, True, False], counts)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (1, 8, 20 / 512),  # 2 (1 + 9) / 2^9
        (8, 1, 20 / 512),
        (0, 5, 2 / 32),
        (0, 0, 1.0),
        (4, 4, 1.0),
        (10, 2, 2 * (1 + 12 + 66) / 4096),  # 0.0386, as R's binom.test(2, 12)
    ],
)
def test_mcnemars_p_is_the_exact_binomial_one(only_first: int, only_second: int, p: float) -> None:
    found = mcnemar_of(*answers(only_first, only_second))
    assert (found.only_first, found.only_second) == (only_first, only_second)
    assert found.p == pytest.approx(p, rel=1e-12)


def test_mcnemars_p_of_many_videos_does_not_overflow() -> None:
    # The normal approximation with a correction of continuity: z = (5200 - 4800 - 1) / 100, p = 6.6e-5.
    assert mcnemar_of(*answers(5200, 4800)).p == pytest.approx(6.6e-5, rel=0.02)
    assert mcnemar_of(*answers(15_000, 5_000)).p == 0.0


def test_answers_of_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="expected the answers of the same videos"):
        mcnemar_of(np.ones(3, bool), np.ones(4, bool))


def test_differences_and_intervals_are_those_of_a_comparison_of_arms_with_a_verdict_on_the_videos() -> None:
    a, b = run(3.0, 0), run(0.0, 1)
    pair, arms = compare_pair(a, b, FEW), compare_arms({0: a}, {0: b}, FEW)
    assert [one._replace(verdict="undecided") for one in pair.differences if one.metric is not TOP5] == list(
        arms.differences
    )
    assert {one.verdict for one in pair.differences} == {"better"}
    assert {one.verdict for one in compare_pair(b, a, FEW).differences} == {"worse"}
    assert {one.verdict for one in compare_pair(a, a, FEW).differences} == {"undecided"}
    hits = [one.logits_NK.argmax(1) == one.labels_N for one in (a, b)]
    assert pair.mcnemar == mcnemar_of(*hits)


def test_few_groups_decide_nothing() -> None:
    pair = compare_pair(run(9.0, 0, group_size=30), run(-9.0, 1, group_size=30), FEW)
    assert (pair.num_groups, pair.has_enough_groups) == (4, False)
    assert {one.verdict for one in pair.differences} == {"undecided"}


def test_top5_is_that_of_an_evaluation_and_its_interval_that_of_a_mean() -> None:
    import torch

    a, b = run(0.5, 0, num_videos=400), run(-0.5, 1, num_videos=400)
    for one in (a, b):
        expected = classification_metrics(torch.from_numpy(one.logits_NK), torch.from_numpy(one.labels_N))["top5"]
        assert top5_of(one) == pytest.approx(expected)
    found = compare_pair(a, b, BootstrapSettings(num_resamples=4000)).of("top5")
    hits = [(one.logits_NK >= np.sort(one.logits_NK)[:, -5:-4])[np.arange(400), one.labels_N] for one in (a, b)]
    difference_N = hits[0].astype(float) - hits[1]
    assert found.value == pytest.approx(difference_N.mean())
    assert found.standard_error == pytest.approx(difference_N.std() / 20, rel=0.06)


def test_five_classes_have_no_top5_and_videos_may_come_in_any_order() -> None:
    a, b = run(1.0, 0, num_classes=5), run(0.0, 1, num_classes=5)
    order = np.random.default_rng(2).permutation(120)
    shuffled = Predictions(
        tuple(b.videos[row] for row in order),
        tuple(b.groups[row] for row in order),
        b.labels_N[order],
        b.logits_NK[order],
    )
    pair = compare_pair(a, b, FEW)
    assert "top5" not in [one.metric.name for one in pair.differences]
    assert compare_pair(a, shuffled, FEW) == pair


def test_other_videos_are_refused() -> None:
    with pytest.raises(ValueError, match=r"found 1 that only one has: 00119\.mp4"):
        compare_pair(run(1.0, 0), run(1.0, 0, num_videos=119), FEW)


def test_label_sets_have_their_metrics_and_no_mcnemar() -> None:
    sets_NK = np.eye(8, dtype=bool)[np.arange(120) % 8]
    sets_NK[::3, 0] = True
    a, b = (
        Predictions(one.videos, one.groups, one.labels_N, one.logits_NK, sets_NK) for one in (run(2.0, 0), run(1.0, 1))
    )
    pair = compare_pair(a, b, FEW)
    assert pair.mcnemar is None and pair.differences[0].metric.name == "gap"


def test_many_videos_are_drawn_less_often() -> None:
    assert [settings_for(number).num_resamples for number in (10, 2_200, 4_400, 10**6)] == [10_000, 10_000, 2_500, 500]
