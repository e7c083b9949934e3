from __future__ import annotations

import pytest

from reskd.statistics.metrics import METRICS
from reskd.statistics.shown import counted, shown_cost, shown_difference, shown_value

TOP1, LOG_LOSS = METRICS[0], METRICS[-1]


@pytest.mark.parametrize(
    ("value", "shown"), [(0.031, "+3.1"), (-0.031, "-3.1"), (0.0, "0.0"), (-0.0001, "0.0"), (0.0001, "0.0")]
)
def test_a_difference_has_a_sign_unless_it_rounds_to_nothing(value: float, shown: str) -> None:
    assert shown_difference(TOP1, value) == shown


def test_shares_are_in_per_cent_and_losses_as_they_are() -> None:
    assert (shown_value(TOP1, 0.8126), shown_value(LOG_LOSS, 0.8126)) == ("81.3", "0.813")


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "-"), (8.0, "8.00"), (34.56, "34.6"), (1234.5, "1234"), (0.01234, "0.0123")]
)
def test_costs_have_three_significant_digits(value: float | None, shown: str) -> None:
    assert shown_cost(value) == shown


def test_things_are_counted_in_words() -> None:
    assert [counted(number, "video") for number in (0, 1, 2000)] == ["0 videos", "1 video", "2,000 videos"]
