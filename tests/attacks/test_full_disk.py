from __future__ import annotations

from pathlib import Path

import pytest

from tests.attacks import full_disk


def test_a_disk_that_fills_up_in_a_run_is_a_sentence(tmp_path: Path) -> None:
    counts, failures = full_disk.attack(tmp_path, [3], epochs=1)
    assert failures == [] and counts["equal to the bit"] == 1


def test_a_disk_that_fills_up_in_a_scan_is_a_sentence(tmp_path: Path) -> None:
    counts, failures = full_disk.attack_scan(tmp_path, 2)
    assert failures == [] and counts["equal to the bit"] == counts["refused in a sentence"] == 2


@pytest.mark.slow
def test_every_twelfth_write_of_a_run_may_fail(tmp_path: Path) -> None:
    counts, failures = full_disk.attack(tmp_path, range(2, 1000, 12))
    assert failures == [] and counts["equal to the bit"] == counts["tried"] > 1
