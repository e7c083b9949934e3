from __future__ import annotations

import os
from pathlib import Path

import pytest

from dali_pipes.json_files import parse_json, read_json

_CONTENTS = {
    "nested too deeply": b"[" * 100_000,
    "Exceeds the limit": b'{"name": ' + b"9" * 5000 + b"}",
    "damaged JSON": b'{"name": "half',
    "damaged JSON ": b"\xff\xfe\x00",
    "found a list": b'["name"]',
    "found no 'name'": b"{}",
}


@pytest.mark.parametrize("reason", _CONTENTS)
def test_damage_is_a_sentence_with_the_file(reason: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(_CONTENTS[reason])
    keys = ("name",) if reason != "found a list" else ()
    with pytest.raises(ValueError, match=r"result.json: expected a result, found .*; run it again\.") as error:
        read_json(path, "a result", keys=keys, advice="run it again")
    assert reason.strip() in str(error.value)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "result.json")
    with pytest.raises(ValueError, match="found no regular file; run it again"):
        read_json(tmp_path / "result.json", "the result of a run", advice="run it again")


def test_what_is_whole_is_read(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"name": "a", "number": 1.5}')
    assert read_json(tmp_path / "result.json", "a result", keys=("name",), advice="none") == {
        "name": "a",
        "number": 1.5,
    }
    assert parse_json("[1, 2]") == [1, 2]
