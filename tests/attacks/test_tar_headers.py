from __future__ import annotations

from pathlib import Path

from tests.attacks.outcomes import report
from tests.attacks.tar_headers import DAMAGES, attack


def test_damaged_tar_files_are_refused_in_a_sentence_or_listed_as_they_are(tmp_path: Path) -> None:
    text, code = report(attack(8 * len(DAMAGES), 1, tmp_path))
    assert code == 0, text
