from __future__ import annotations

import json
from pathlib import Path

import pytest

from reskd.commands.make_feature_data import main, parse_spec


def test_records_are_written_and_the_hash_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(tmp_path), "--train", "3", "--val", "1", "--test", "2", "--set", "frames=[4, 9]", "signal=2"])
    about = json.loads((tmp_path / "about.json").read_text())
    assert about["spec"]["frames"] == [4, 9] and about["spec"]["signal"] == 2.0
    printed = capsys.readouterr().out
    assert about["content_hash"] in printed and "3 train, 1 val, 2 test videos of 20 classes" in printed


@pytest.mark.parametrize(("setting", "message"), [("signl=1", "expected one of seed"), ("frames=3", "a value like")])
def test_settings_that_are_none_are_refused(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_spec([setting])
