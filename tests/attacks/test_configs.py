from __future__ import annotations

from pathlib import Path

import pytest

from tests.attacks.configs import attack, attack_tools
from tests.attacks.outcomes import report


def test_mutated_configs_are_refused_in_a_sentence_or_read_as_they_are(tmp_path: Path) -> None:
    text, code = report(attack(60, 1, tmp_path))
    assert code == 0, text


@pytest.mark.slow
def test_so_do_the_commands(tmp_path: Path) -> None:
    text, code = report(attack_tools(2, 1, tmp_path))
    assert code == 0, text
