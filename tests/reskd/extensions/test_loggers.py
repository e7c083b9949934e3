"""Loggers of the user's get every line, and one that fails does not end a run."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from reskd.extensions.config import MadeByCode
from reskd.extensions.loggers import Loggers

FILE = """
class Lines:
    def __init__(self, folder, settings, name):
        self.path, self.name = folder / name, settings["name"]
    def scalars(self, step, values):
        if step == 3:
            raise OSError("the server is gone")
        with self.path.open("a") as file:
            file.write(f"{self.name} {step} {values['loss/total']}\\n")
    def close(self):
        with self.path.open("a") as file:
            file.write("closed\\n")

def nothing(folder, settings):
    return None
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "parts.py"
    path.write_text(FILE, encoding="utf-8")
    return path


def opened(file: Path, name: str) -> Loggers:
    wanted = {"mine": MadeByCode(build=f"{file}:Lines", arguments={"name": name})}
    return Loggers(wanted, folder=file.parent, settings={"name": "run"})


def test_a_logger_gets_every_line_and_is_closed(file: Path) -> None:
    loggers = opened(file, "a.txt")
    for step in (1, 2):
        loggers.scalars(step, {"loss/total": step / 2})
    loggers.close()
    assert (file.parent / "a.txt").read_text() == "run 1 0.5\nrun 2 1.0\nclosed\n"


def test_a_logger_that_fails_is_named_once_and_gets_nothing_more(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    loggers = opened(file, "b.txt")
    with caplog.at_level(logging.WARNING):
        for step in (2, 3, 4):
            loggers.scalars(step, {"loss/total": 1.0})
        loggers.close()
    assert (file.parent / "b.txt").read_text() == "run 2 1.0\n"
    assert len(caplog.messages) == 1
    assert "loggers.mine failed and gets nothing more: OSError: the server is gone (parts.py, line 7)" in caplog.text


def test_an_object_without_scalars_is_refused(file: Path) -> None:
    with pytest.raises(ValueError, match=r"loggers.mine.build: expected an object with scalars\(step, values\)"):
        Loggers({"mine": MadeByCode(build=f"{file}:nothing")}, folder=file.parent, settings={})
