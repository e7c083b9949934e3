from __future__ import annotations

from pathlib import Path

import pytest

from tests.attacks import kills


@pytest.mark.slow
def test_runs_of_one_and_two_ranks_resume_to_the_bit(tmp_path: Path) -> None:
    counts, failures = kills.attack(tmp_path, count=2, seed=0)
    assert failures == [] and counts["equal to the bit"] == 2
