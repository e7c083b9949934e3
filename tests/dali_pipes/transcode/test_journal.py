"""The journal of a transcode: a write that was cut short costs one record, wherever it was cut."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from dali_pipes.transcode.journal import Record, journal_path, open_journal, read_journals

NAMES = ["a.mp4", "x, y.mp4", "line\nend.mp4", 'quote ".mp4', 'all, "of\nthem".mp4', "last.mp4"]


def record_of(name: str) -> Record:
    return Record(name, name, 10, 10, 100, 50, "ok", 5, "v1")


def write(folder: Path, names: list[str]) -> Path:
    path = journal_path(folder, (1, 1))
    with open_journal(path) as journal:
        for name in names:
            journal.add(record_of(name))
    return path


def read(folder: Path) -> list[str]:
    return [record.path for record in read_journals(folder).values()]


def test_names_of_all_kinds_are_read_as_written(tmp_path: Path) -> None:
    write(tmp_path, NAMES)
    assert list(read_journals(tmp_path).values()) == [record_of(name) for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_costs_one_record_however_many_follow(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, ["first.mp4"])
    start = path.stat().st_size
    write(tmp_path, [name])
    whole = path.read_bytes()
    after = [f"clip_{number}.mp4" for number in range(20)] + NAMES[1:]
    for length in range(start, len(whole) - 3):
        path.write_bytes(whole[:length])
        write(tmp_path, after)
        assert [found for found in read(tmp_path) if found != name] == ["first.mp4", *(n for n in after if n != name)]


def test_a_cell_that_stayed_open_before_thousands_of_records_is_read_past(tmp_path: Path) -> None:
    path = write(tmp_path, ["first.mp4"])
    with path.open("a") as file:
        file.write('"x, y\n')
    names = [f"clip_{number}.mp4" for number in range(4000)]
    write(tmp_path, names)
    assert read(tmp_path) == ["first.mp4", *names]


def test_other_programs_read_the_records_after_a_cut(tmp_path: Path) -> None:
    path = write(tmp_path, ["first.mp4", "x, y.mp4"])
    path.write_bytes(path.read_bytes()[:-30])
    write(tmp_path, ["last.mp4"])
    with path.open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == ["first.mp4", "last.mp4"]


def test_a_journal_that_was_cut_in_its_head_begins_anew(tmp_path: Path) -> None:
    path = write(tmp_path, ["first.mp4"])
    path.write_bytes(path.read_bytes()[:9])
    write(tmp_path, ["last.mp4"])
    assert read(tmp_path) == ["last.mp4"]


def test_a_table_of_another_kind_has_no_records(tmp_path: Path) -> None:
    (tmp_path / "transcode_list.csv").write_text('path,label\n"a,b\nc.mp4,x\n' * 1000)
    (tmp_path / "transcode_empty.csv").touch()
    assert read(tmp_path) == []
