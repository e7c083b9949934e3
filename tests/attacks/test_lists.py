from __future__ import annotations

import pytest

from tests.attacks.lists import run


@pytest.mark.parametrize(("count", "every"), [(400, 0), (9, 7)])
def test_lists_are_read_right_or_refused_in_a_sentence(count: int, every: int) -> None:
    totals, failures = run(count, seed=1, every=every)
    assert not failures and totals["worked"] > count // 3 and totals["refused"] > count // 5
