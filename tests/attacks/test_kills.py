from __future__ import annotations

from pathlib import Path

import pytest

from tests.attacks import kills


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_bit(tmp_path: Path) -> None:
    counts, failures = kills.attack(tmp_path, count=1, seed=0)  # two ranks: tests/reskd/commands/test_train.py
    assert failures == [] and counts["equal to the bit"] == 1
