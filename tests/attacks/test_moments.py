from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.attacks import moments


def test_ctrl_c_in_a_scan(tmp_path: Path) -> None:
    counts, failures = moments.attack(tmp_path, ["scan"], [signal.SIGINT])
    assert failures == [] and counts["equal to the bit"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signum", "names"),
    [
        (signal.SIGTERM, ["dry run", "validation"]),
        (signal.SIGINT, ["transcode"]),
    ],
)
def test_signals_at_moments_of_other_tools_and_parts(signum: signal.Signals, names: list[str], tmp_path: Path) -> None:
    counts, failures = moments.attack(tmp_path, names, [signum])
    assert failures == [] and counts["equal to the bit"] == len(names)
