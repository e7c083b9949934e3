from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from dali_pipes.manifest.shared_groups import GroupTable, choose_groups


def _random_groups(seed: int, num_groups: int, num_classes: int) -> list[dict[int, int]]:
    """Groups of one class to all classes, of 1 to 30 videos each."""
    rng = random.Random(seed)
    sizes = (1, 1, 2, 5, 30)
    return [
        {label: rng.choice(sizes) for label in rng.sample(range(num_classes), rng.randint(1, num_classes))}
        for _ in range(num_groups)
    ]


def _choose(groups: list[dict[int, int]], num_classes: int, fraction: float) -> np.ndarray:
    orders = {label: [number for number, group in enumerate(groups) if label in group] for label in range(num_classes)}
    return choose_groups(GroupTable.of(groups, num_classes), orders, fraction)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.8])
def test_unequal_groups_come_near_the_share_and_leave_each_class_a_video(seed: int, fraction: float) -> None:
    groups = _random_groups(seed, 40, 8)
    chosen = _choose(groups, 8, fraction)
    totals, held = Counter[int](), Counter[int]()
    for group, is_chosen in zip(groups, chosen, strict=True):
        totals.update(group)
        held.update(group if is_chosen else {})
    assert all(0 < held[label] < totals[label] for label in totals)
    assert np.mean([abs(held[label] / totals[label] - fraction) for label in totals]) < 0.1


def test_a_giant_group_stays_where_the_small_ones_are_nearer() -> None:
    giant = dict.fromkeys(range(5), 100)
    chosen = _choose([giant, *(dict.fromkeys(range(5), 1) for _ in range(5))], 5, 0.1)
    assert chosen.tolist() == [False, True, True, True, True, True]


def test_no_exchange_of_two_groups_would_be_nearer() -> None:
    groups = [{0: 3, 1: 1}, {0: 1, 1: 3}, {0: 2, 1: 2}, {0: 4, 1: 4}]
    assert _choose(groups, 2, 0.4).tolist() in ([True, True, False, False], [False, False, False, True])
