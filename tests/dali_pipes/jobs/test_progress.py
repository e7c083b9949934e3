"""The progress display: plain lines in a log, bars on a terminal, one line for a job that is done."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dali_pipes.jobs import progress
from dali_pipes.jobs.progress import ProgressDisplay, progress_messages

ROOT = Path(__file__).parents[3]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_the_first_and_the_last_count_and_one_a_minute() -> None:
    log = io.StringIO()
    with ProgressDisplay(log) as display:
        report = display.counter("files")
        for done in range(101):
            report(done, 100)
    lines = log.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == ["0 of 100 files", "100 of 100 files"]
    assert lines[0].endswith("? left") and lines[1].endswith("0:00:00 left")


def test_a_log_gets_every_step() -> None:
    log = io.StringIO()
    with ProgressDisplay(log) as display:
        display.step("student", 1, 2, "task 0.5")
        display.step("student", 2, 2, "task 0.4")
    assert log.getvalue() == "student step 1/2 task 0.5\nstudent step 2/2 task 0.4\n"


def test_a_terminal_shows_bars_and_keeps_a_line_of_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    with ProgressDisplay(terminal) as display:
        report = display.counter("files")
        report(1, 2)
        assert "1/2" in terminal.getvalue() and "files/s" in terminal.getvalue()
        report(2, 2)
        assert terminal.getvalue().splitlines()[-1].split(",")[0].endswith("2 of 2 files")
        display.step("[student]", 5, 10, "task 0.5")
    assert "[student]" in terminal.getvalue() and re.search(r"\? left\S* task 0.5", terminal.getvalue())
    assert terminal.getvalue().count("\x1b[?25l") == terminal.getvalue().count("\x1b[?25h") == 2  # the cursor is back


def test_a_cleared_bar_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "_LINE_EVERY_S", {True: 0.0, False: 0.0})
    terminal = Terminal()
    with ProgressDisplay(terminal) as display:
        display.count("videos", 1, 9)
        display.clear()
        before = terminal.getvalue()
        display.count("videos", 2, 9)
    assert "1/9" in before and "2/9" in terminal.getvalue()[len(before) :]


def test_a_rank_that_is_not_the_main_one_shows_nothing() -> None:
    log = io.StringIO()
    with ProgressDisplay(log, enabled=False) as display:
        display.count("files", 1, 1)
        display.step("student", 1, 1, "")
    assert log.getvalue() == ""


def test_without_a_terminal_rich_is_not_imported() -> None:
    program = (
        "import sys; from dali_pipes.jobs.progress import ProgressDisplay\n"
        "with ProgressDisplay() as display: display.count('files', 1, 1)\n"
        "assert 'rich' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("1 of 1 files")


def test_messages_come_now_and_then_and_not_at_all_for_a_short_job(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    report = progress_messages(said.append, "scanning files", "files")
    report(1, 4)
    assert said == []
    monkeypatch.setattr(progress, "_MESSAGE_EVERY_S", 0.0)
    report(2, 4)
    assert len(said) == 1 and said[0].startswith("scanning files: 2 of 4 files, ")


def test_a_terminal_shows_a_note_at_the_end_of_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    terminal = Terminal()
    with ProgressDisplay(terminal) as display:
        display.note("before any count")
        report = display.counter("runs")
        report(0, 4)
        display.note("student 2: epoch 3.0 of 15")
        assert "student 2: epoch 3.0 of 15" in terminal.getvalue() and "0/4" in terminal.getvalue()
        report(4, 4)
        display.note("nothing runs any more")
    assert "nothing runs any more" not in terminal.getvalue()


def test_a_log_gets_a_note_every_three_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    log = io.StringIO()
    with ProgressDisplay(log) as display:
        for now[0] in range(0, 601, 2):
            display.note(f"at {now[0]} s")
    assert log.getvalue().splitlines() == ["at 180 s", "at 360 s", "at 540 s"]
    with ProgressDisplay(log, enabled=False) as display:
        now[0] = 10_000
        display.note("of another rank")
    assert "rank" not in log.getvalue()
