from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.attacks import signals


def test_a_run_saves_at_sigterm_and_resumes_to_the_bit(tmp_path: Path) -> None:
    counts, failures = signals.attack(tmp_path, [signals.Case(signal.SIGTERM, "step", 1)])
    assert failures == [] and counts["equal to the bit"] == 1


@pytest.mark.slow
def test_two_ranks_stop_together(tmp_path: Path) -> None:
    cases = [signals.Case(signal.SIGTERM, "step", 2), signals.Case(signal.SIGINT, "save", 2)]
    counts, failures = signals.attack(tmp_path, cases)
    assert failures == [] and counts["equal to the bit"] == 2
