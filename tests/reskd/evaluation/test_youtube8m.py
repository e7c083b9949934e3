from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_average_precision

from reskd.evaluation.metrics import multi_label_metrics
from reskd.evaluation.youtube8m import TOP_K, average_precisions, joined, top_lists, video_level_metrics


def measure(scores_NK: Tensor, sets_NK: Tensor) -> dict[str, float]:
    return video_level_metrics(top_lists(scores_NK, sets_NK), sets_NK.sum(0))


def sets_of(labels: list[list[int]], num_classes: int) -> Tensor:
    sets_NK = torch.zeros(len(labels), num_classes, dtype=torch.bool)
    for video, classes in enumerate(labels):
        sets_NK[video, classes] = True
    return sets_NK


def test_three_videos_by_hand() -> None:
    scores_NK = torch.tensor([[0.9, 0.5, 0.1], [0.8, 0.7, 0.2], [0.3, 0.6, 0.4]])
    metrics = measure(scores_NK, sets_of([[0], [1, 2], [0]], 3))
    # Sorted: .9 hit, .8, .7 hit, .6, .5, .4, .3 hit, .2 hit, .1; four labels.
    assert metrics["gap"] == pytest.approx((1 / 1 + 2 / 3 + 3 / 7 + 4 / 8) / 4)
    # Class 0: .9 hit, .8, .3 hit; class 1: .7 hit, .6, .5; class 2: .4, .2 hit, .1.
    assert metrics["map_top20"] == pytest.approx(((1 + 2 / 3) / 2 + 1 + 1 / 2) / 3)
    assert metrics["hit1"] == pytest.approx(1 / 3)
    # Video 1 has two labels; of its two highest scores, classes 0 and 1, one is right. Video 2 says class 1.
    assert metrics["perr"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert metrics["map_top20_present"] == metrics["map_top20"]


def test_labels_beyond_the_list_are_missed_by_gap_and_not_by_perr() -> None:
    scores_NK = torch.linspace(1, 0, 25)[None]
    sets_NK = torch.ones(1, 25, dtype=torch.bool)
    metrics = measure(scores_NK, sets_NK)
    assert metrics["gap"] == pytest.approx(TOP_K / 25) and metrics["map_top20"] == pytest.approx(TOP_K / 25)
    assert metrics["perr"] == 1 and metrics["hit1"] == 1
    late = torch.zeros(1, 25, dtype=torch.bool)
    late[0, 22] = True
    assert measure(scores_NK, late) == pytest.approx(
        {"gap": 0, "map_top20": 0, "hit1": 0, "perr": 0, "map_top20_present": 0}
    )


def test_a_class_without_a_video_counts_zero_or_is_left_out_by_name() -> None:
    scores_NK = torch.tensor([[3.0, 2.0, 1.0, 0.0], [3.0, 4.0, 1.0, 0.0]])
    sets_NK = sets_of([[0], [1]], 4)
    metrics = measure(scores_NK, sets_NK)
    assert metrics["map_top20"] == pytest.approx((0.5 + 1) / 4)
    assert metrics["map_top20_present"] == pytest.approx((0.5 + 1) / 2)
    dense = multi_label_metrics(scores_NK, sets_NK, scores="sigmoid")
    assert dense["map"] == pytest.approx((0.5 + 1) / 2) and dense["map_all_classes"] == pytest.approx((0.5 + 1) / 4)


def test_equal_scores_have_the_precision_after_the_last_of_them() -> None:
    scores_M, hits_M = torch.tensor([0.9, 0.5, 0.5, 0.5, 0.1]), torch.tensor([0, 1, 0, 1, 1]).bool()
    found = average_precisions(scores_M, hits_M, torch.zeros(5, dtype=torch.int32), torch.tensor([3]))
    assert found.item() == pytest.approx((2 / 4 + 2 / 4 + 3 / 5) / 3)


def test_within_a_video_equal_scores_go_to_the_lower_class() -> None:
    lists = top_lists(torch.zeros(1, 30), sets_of([[0, 29]], 30))
    assert lists.classes_NL[0].tolist() == list(range(TOP_K))
    assert lists.hits_NL[0].sum() == 1 and lists.num_right_N.item() == 1  # of classes 0 and 1


def random_case(num_videos: int, num_classes: int) -> tuple[Tensor, Tensor]:
    """Coarse scores, so that many are equal."""
    generator = torch.Generator().manual_seed(5)
    scores_NK = (torch.randn(num_videos, num_classes, generator=generator) * 4).round() / 4
    return scores_NK, torch.rand(num_videos, num_classes, generator=generator) < 0.1


def test_the_order_of_the_videos_changes_no_bit() -> None:
    scores_NK, sets_NK = random_case(200, 40)
    order_N = torch.randperm(200, generator=torch.Generator().manual_seed(6))
    assert measure(scores_NK[order_N], sets_NK[order_N]) == measure(scores_NK, sets_NK)


def test_lists_of_parts_joined_are_the_list_of_all() -> None:
    scores_NK, sets_NK = random_case(50, 30)
    parts = [top_lists(*part) for part in zip(scores_NK.split(7), sets_NK.split(7), strict=True)]
    for one, other in zip(joined(parts), top_lists(scores_NK, sets_NK), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("num_classes", [2, TOP_K])
def test_with_at_most_twenty_classes_map_of_the_lists_is_the_dense_map(num_classes: int) -> None:
    scores_NK, sets_NK = random_case(100, num_classes)
    metrics = multi_label_metrics(scores_NK, sets_NK, scores="sigmoid")
    assert metrics["map"] == pytest.approx(metrics["map_top20"], abs=1e-6)


def test_average_precisions_of_groups_are_torchmetrics_of_each_class() -> None:
    generator = torch.Generator().manual_seed(7)
    scores_NK = torch.rand(60, 5, generator=generator)
    labels_N = torch.randint(5, (60,), generator=generator)
    hits_NK = torch.eye(5).bool()[labels_N]
    classes_NK = torch.arange(5).expand(60, 5)
    found = average_precisions(scores_NK.flatten(), hits_NK.flatten(), classes_NK.flatten(), hits_NK.sum(0))
    expected = multiclass_average_precision(scores_NK, labels_N, 5, average="none")
    torch.testing.assert_close(found.float(), expected)


def test_a_video_without_a_label_counts_zero() -> None:
    metrics = measure(torch.tensor([[2.0, 1.0], [2.0, 1.0]]), sets_of([[0], []], 2))
    assert metrics["hit1"] == 0.5 and metrics["perr"] == 0.5


@pytest.mark.parametrize("num_classes", [50, 5000])
def test_what_is_kept_of_a_video_does_not_grow_with_the_classes(num_classes: int) -> None:
    lists = top_lists(*random_case(3, num_classes))
    assert sum(part.untyped_storage().nbytes() for part in lists) == 3 * 188


def test_infinite_scores_have_their_place_and_no_number_is_an_error() -> None:
    scores_NK, sets_NK = torch.tensor([[torch.inf, -torch.inf], [1.0, 2.0]]), sets_of([[0], [1]], 2)
    assert measure(scores_NK, sets_NK)["gap"] == 1
    with pytest.raises(ValueError, match="found NaN in the outputs for 1 of 2 videos"):
        measure(scores_NK * 0, sets_NK)


def test_no_video_and_no_label_are_errors() -> None:
    with pytest.raises(ValueError, match="expected at least one scored clip, found none"):
        measure(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="expected labels to score against, found none in 2 videos"):
        measure(torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.bool))
