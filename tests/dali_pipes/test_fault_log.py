from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dali_pipes.fault_log import (
    FaultCounts,
    FaultLog,
    TooManyBadClipsError,
    drop_lines_from,
    is_new,
    saying_once,
    sum_counts,
)


def serve(log: FaultLog, num_served: int, num_substituted: int) -> None:
    log.num_served += num_served
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


def counts_of(num_served: int, num_substituted: int, files: dict[str, int]) -> FaultCounts:
    reasons = dict.fromkeys(files, "gone")
    return FaultCounts(
        num_served=num_served, num_substituted=num_substituted, num_fallen_back=7, files=files, reasons=reasons
    )


@given(st.integers(0, 10**9), st.dictionaries(st.text(max_size=3), st.integers(1, 20), max_size=6), st.integers(1, 17))
@settings(max_examples=100, deadline=None)
def test_the_parts_of_any_number_of_ranks_sum_to_the_whole(num_served: int, files: dict[str, int], size: int) -> None:
    total = counts_of(num_served, num_served // 3, files)
    logs = [FaultLog(None, 1.0) for _ in range(size)]
    for rank, log in enumerate(logs):
        log.restore(total, rank=rank, world_size=size)
    assert sum_counts(log.counts() for log in logs) == total
    assert max(log.num_served for log in logs) - min(log.num_served for log in logs) <= 1


def test_the_share_goes_on_where_it_was() -> None:
    log = FaultLog(None, 0.01)
    log.restore(counts_of(1000, 10, {"a.mp4": 10}), rank=0, world_size=1)
    log.check()
    with pytest.raises(TooManyBadClipsError, match=r"11 of 1001 clips (.|\n)*a.mp4 \(10 times\): gone"):
        serve(log, 1, 1)


def test_a_rank_weighs_what_all_ranks_saw_before_like_what_it_sees_now() -> None:
    """64 ranks saw 100 good clips each; one that from then on sees bad ones alone stops as if never stopped."""
    log = FaultLog(None, 0.5)
    log.restore(counts_of(6400, 0, {}), rank=5, world_size=64)
    serve(log, 100, 100)
    with pytest.raises(TooManyBadClipsError, match="101 of 201 clips"):
        serve(log, 1, 1)


def test_what_was_announced_before_a_resume_is_not_announced_again() -> None:
    messages: list[str] = []
    log = FaultLog(None, 1.0, messages.append)
    log.restore(counts_of(10, 1, {"a.mp4": 1}), rank=1, world_size=2)
    log.add("a.mp4", "gone", position=1, attempt=0)
    log.add("b.mp4", "gone", position=2, attempt=0)
    assert messages == ["b.mp4 cannot be used: gone"]


def test_a_pass_of_an_evaluation_begins_a_new_list_and_account(tmp_path: Path) -> None:
    messages: list[str] = []
    log = FaultLog(tmp_path / "quarantine.csv", 0.1, messages.append)
    for _ in range(3):
        log.start_pass()
        log.add("a.mp4", "gone", position=1, attempt=0)
        serve(log, 100, 19)
    assert (tmp_path / "quarantine.csv").read_text().splitlines() == ["file,reason,position,attempt", "a.mp4,gone,1,0"]
    assert log.files == {"a.mp4": 1} and len(messages) == 1


def test_lines_from_a_position_on_are_dropped_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "quarantine.csv"
    drop_lines_from(path, 0)
    assert not path.exists()
    log, odd = FaultLog(path, 1.0), os.fsdecode(b'new\n"line\xff,.mp4')
    for position in (-1, 3, 4, 7, 2, 9):
        log.add(odd, "two\r\nlines", position=position, attempt=0)
    with path.open("ab") as file:
        file.write(b"cut.mp4,by a power fai")
    drop_lines_from(path, 4)
    log.add("a.mp4", "gone", position=4, attempt=2)
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["position"]) for row in rows] == [(odd, "-1"), (odd, "3"), (odd, "2"), ("a.mp4", "4")]
    assert rows[0]["reason"] == "two\r\nlines" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "junk",
    [b"\0\0\0\n", b"a.mp4,gone,two,0\r\n", b"a,b\r\n", b"\xff\xfe\r\n", b"x,y,-5,0\r\n", b"x,y," + b"9" * 5000],
)
def test_damaged_lines_are_dropped_with_a_word_and_no_others(
    tmp_path: Path, junk: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "quarantine.csv"
    path.write_bytes(b"file,reason,position,attempt\r\na.mp4,gone,1,0\r\n" + junk)
    drop_lines_from(path, 4)
    assert path.read_bytes() == b"file,reason,position,attempt\r\na.mp4,gone,1,0\r\n"
    assert caplog.messages == [f"{path}: 1 of its lines are whole; the others are left out"]
    caplog.clear()
    path.write_bytes(b'file,reason,position,attempt\r\na.mp4,"two\nlines",1,0\r\n')
    drop_lines_from(path, 4)
    assert caplog.messages == []


def test_a_file_is_named_by_one_loader_of_a_training() -> None:
    said: list[str] = []
    with saying_once():
        for reason in ("it is cut", "it is cut", "it is gone"):
            FaultLog(None, 0.5, said.append).add("bad.mp4", reason, position=3, attempt=0)
    assert said == ["bad.mp4 cannot be used: it is cut", "bad.mp4 cannot be used: it is gone"]
    FaultLog(None, 0.5, said.append).add("bad.mp4", "it is cut", position=3, attempt=0)
    assert len(said) == 3  # a command after it says it again


def test_saying_once_ends_with_its_block() -> None:
    assert is_new("a") and is_new("a")
    with saying_once():
        assert is_new("a") and not is_new("a")
        with saying_once():
            assert is_new("a")
        assert not is_new("a")
    assert is_new("a")
