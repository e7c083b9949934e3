from __future__ import annotations

import pytest

from dali_pipes.sampling.order import ReadingOrder


def test_a_step_is_one_batch_of_every_rank_unless_told() -> None:
    assert ReadingOrder(mode="train", batch_size=3, world_size=2).clips_per_step == 6
    assert ReadingOrder(mode="train", batch_size=3, world_size=2, global_batch_size=12).clips_per_step == 12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"global_batch_size": 7}, "expected a multiple of world size 2 times batch size 3 = 6, found 7"),
        ({"global_batch_size": 0}, "found 0"),
        ({"rank": 2}, "rank: expected 0 to 1, found 2"),
        ({"batch_size": 0}, "batch_size: expected at least 1, found 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, int], message: str) -> None:
    settings: dict[str, int] = {"batch_size": 3, "world_size": 2} | changes
    with pytest.raises(ValueError, match=message):
        ReadingOrder(mode="train", **settings).check(5)
