from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from dali_pipes.faults import FaultLog, TooManyBadClipsError


def serve(log: FaultLog, num_clips: int, num_substituted: int) -> None:
    log.num_clips += num_clips
    log.num_substituted += num_substituted
    log.check()


def test_a_share_within_the_limit_goes_on_and_one_beyond_stops() -> None:
    log = FaultLog(None, 0.01)
    serve(log, 1000, 10)
    log.add("bad.mp4", "it is cut", position=3, attempt=0)
    with pytest.raises(
        TooManyBadClipsError,
        match=r"11 of 1001 clips had to be replaced, .*max_bad_fraction=0.01 .*\nbad.mp4 \(1 times",
    ):
        serve(log, 1, 1)


def test_the_first_clips_of_a_run_do_not_stop_it() -> None:
    log = FaultLog(None, 0.02)
    serve(log, 8, 4)
    with pytest.raises(TooManyBadClipsError):
        serve(log, 8, 1)


def test_no_bad_clip_may_be_demanded() -> None:
    log = FaultLog(None, 0.0)
    serve(log, 10_000, 0)
    with pytest.raises(TooManyBadClipsError, match="max_bad_fraction=0 allows"):
        serve(log, 8, 1)


def test_the_files_that_failed_most_are_named_first_with_their_last_reason() -> None:
    log = FaultLog(None, 0.0)
    for number in range(30):
        for count in range(number + 1):
            log.add(f"{number:02d}.mp4", f"reason {count}", position=count, attempt=0)
    with pytest.raises(TooManyBadClipsError) as stopped:
        serve(log, 500, 465)
    lines = str(stopped.value).splitlines()
    assert lines[1] == "29.mp4 (30 times): reason 29" and lines[20].startswith("10.mp4")
    assert lines[21] == "... and 10 more files" and len(lines) == 22


def test_a_file_is_announced_once() -> None:
    messages: list[str] = []
    log = FaultLog(None, 1.0, messages.append)
    for _ in range(3):
        log.add("a.mp4", "gone", position=1, attempt=0)
    log.add("b.mp4", "cut", position=1, attempt=1)
    assert messages == ["a.mp4 cannot be used: gone", "b.mp4 cannot be used: cut"]
    assert log.files == {"a.mp4": 3, "b.mp4": 1}


def test_every_clip_is_in_the_quarantine_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "new" / "quarantine.csv"
    names = ["a.mp4", 'quote",comma', "new\nline", os.fsdecode(b"\xff\xfe.mp4"), "caf\u00e9"]
    for log in (FaultLog(path, 1.0), FaultLog(path, 1.0)):  # a second run goes on
        for number, name in enumerate(names):
            log.add(name, "two\nlines, and a \ufffd", position=number, attempt=number % 2)
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["file", "reason", "position", "attempt"] and [row[0] for row in rows[1:]] == names * 2
    assert rows[2] == ['quote",comma', "two\nlines, and a \ufffd", "1", "1"]


def test_without_a_quarantine_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    FaultLog(None, 1.0).add("a.mp4", "gone", position=0, attempt=0)
    assert list(tmp_path.iterdir()) == []
