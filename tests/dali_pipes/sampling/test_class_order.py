from __future__ import annotations

import numpy as np
import pytest

from dali_pipes.sampling.class_order import ClassBalancedOrder, labels_to_balance
from dali_pipes.sampling.order import EpochOrders

# Class 0 has 50 videos, class 1 has 7, class 3 has 1; class 2 has none.
LABELS = np.array([0] * 50 + [1] * 7 + [3], np.int32)


def test_an_epoch_has_each_class_equally_often_and_the_surplus_goes_round() -> None:
    order = ClassBalancedOrder(5, LABELS)
    counts = np.array([np.bincount(LABELS[order.epoch(epoch)], minlength=4) for epoch in range(6)])
    assert (counts.sum(1) == len(LABELS)).all()
    assert (counts[:, 2] == 0).all()
    assert set(np.unique(counts[:, [0, 1, 3]])) == {19, 20}  # 58 = 3 * 19 + 1
    assert counts.sum(0).tolist() == [116, 116, 0, 116]


def test_videos_of_a_class_are_used_equally_often_over_epochs() -> None:
    order = ClassBalancedOrder(5, LABELS)
    used = np.zeros(len(LABELS), int)
    for epoch in range(9):
        np.add.at(used, order.epoch(epoch), 1)
        for label in (0, 1):
            of_class = used[label == LABELS]
            assert of_class.max() - of_class.min() <= 1


def test_an_epoch_is_a_pure_function_of_seed_and_number() -> None:
    one, other = ClassBalancedOrder(5, LABELS), ClassBalancedOrder(5, LABELS)
    later = one.epoch(4)
    for epoch in (9, 0, 4):  # what was asked before changes nothing
        other.epoch(epoch)
    assert (other.epoch(4) == later).all()
    assert (one.epoch(3) != later).any()
    assert (ClassBalancedOrder(6, LABELS).epoch(4) != later).any()


def test_equal_classes_are_read_once_each_in_an_epoch() -> None:
    labels = np.arange(30) % 5
    assert sorted(ClassBalancedOrder(1, labels).epoch(2)) == list(range(30))


def test_an_epoch_with_more_classes_than_positions_of_one_class() -> None:
    assert ClassBalancedOrder(1, [4]).epoch(7).tolist() == [0]
    assert sorted(ClassBalancedOrder(1, [2, 0, 1]).epoch(1)) == [0, 1, 2]


def test_the_order_of_positions_follows_the_labels_it_is_given() -> None:
    balanced = EpochOrders(5, len(LABELS), labels=LABELS)
    rows = [balanced.row(1, index) for index in range(len(LABELS))]
    assert rows == ClassBalancedOrder(5, LABELS).epoch(1).tolist()
    plain = EpochOrders(5, len(LABELS))
    assert sorted(plain.row(1, index) for index in range(len(LABELS))) == list(range(len(LABELS)))


def test_only_balanced_sampling_needs_one_label_a_video() -> None:
    assert labels_to_balance("natural", LABELS, has_several_labels=True) is None
    assert labels_to_balance("balanced", LABELS, has_several_labels=False) is LABELS
    with pytest.raises(ValueError, match="expected one label a video, found videos with several; set it to natural"):
        labels_to_balance("balanced", LABELS, has_several_labels=True)
