from __future__ import annotations

from pathlib import Path

from tests.attacks.outcomes import report
from tests.attacks.state_files import DAMAGES, attack
from tests.attacks.state_readers import READERS


def test_damaged_state_files_are_named_made_again_or_do_no_harm(tmp_path: Path) -> None:
    outcomes = attack(len(READERS) * len(DAMAGES), 1, tmp_path)
    text, code = report([outcome for found in outcomes.values() for outcome in found])
    assert code == 0, text
