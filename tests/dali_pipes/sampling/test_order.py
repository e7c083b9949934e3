from __future__ import annotations

import numpy as np
import pytest

from dali_pipes.sampling.order import ReadingOrder, epoch_order, most_attempts, substitute_row


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


@pytest.mark.parametrize("first_bad", [0, 1300, 2304])
def test_a_block_of_bad_neighbors_ends_no_run(first_bad: int) -> None:
    """4 % of the rows, such as a lost class folder. Steps of a fixed length met 8 of them in a row in most epochs."""
    num_clips, bad = 2400, range(first_bad, first_bad + 96)
    most, longest = most_attempts(0.05, num_clips), 0
    for epoch in range(3):
        for index, row in enumerate(epoch_order(0, epoch, num_clips).tolist()):
            attempt, position = 0, epoch * num_clips + index
            substitute = row
            while substitute in bad:
                attempt += 1
                substitute = substitute_row(0, position, attempt, num_clips, planned_row=row)
            longest = max(longest, attempt)
    assert longest <= 4 < most


def test_substitutes_are_spread_evenly_whatever_the_planned_row() -> None:
    num_clips = 20
    for attempt in (1, 2, 19):
        rows = [substitute_row(3, position, attempt, num_clips, planned_row=7) for position in range(3800)]
        counts = np.bincount(rows, minlength=num_clips)
        assert counts[7] == 0
        assert (np.delete(counts - 200.0, 7) ** 2 / 200).sum() < 43  # chi square, 18 degrees of freedom, p = 0.001


@pytest.mark.parametrize(("fraction", "attempts"), [(0, 65), (0.05, 65), (0.8, 124), (0.97, 908), (1, 908)])
def test_a_position_is_given_up_only_if_more_clips_are_bad_than_allowed(fraction: float, attempts: int) -> None:
    assert most_attempts(fraction, 10**6) == attempts
    assert most_attempts(fraction, 7) == 7
    assert min(max(fraction, 0.65), 0.97) ** attempts <= 1e-12
