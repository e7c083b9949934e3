from __future__ import annotations

import io
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from dali_pipes.jobs.progress import ProgressDisplay
from reskd.cli import run_tool, set_up_log
from reskd.stop_signals import Stopped

ROOT = Path(__file__).parents[2]


def raising(error: BaseException) -> object:
    def main(arguments: Sequence[str]) -> None:
        raise error

    return main


@pytest.mark.parametrize("error", [ValueError("a: wrong\nb: wrong"), FileNotFoundError("a: wrong\nb: wrong")])
def test_a_users_fault_is_a_line_each_and_exit_code_1(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_tool(raising(error), []) == 1  # type: ignore[arg-type]
    assert capsys.readouterr().err == "error: a: wrong\nerror: b: wrong\n"


@pytest.mark.parametrize("error", [ValueError("x"), AssertionError("x")])
def test_traceback_on_demand(error: Exception) -> None:
    with pytest.raises(type(error), match="x"):
        run_tool(raising(error), ["--traceback"])  # type: ignore[arg-type]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_messages_begin_with_the_time_and_further_lines_are_indented(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (io.StringIO(), Terminal()):
        monkeypatch.setattr(sys, "stderr", stream)
        set_up_log()
        logging.getLogger("reskd").info("the [terms]:\n| a |\n| b |")
        assert re.fullmatch(r"\d\d:\d\d:\d\d the \[terms\]:\n {9}\| a \|\n {9}\| b \|\n", stream.getvalue())


def test_messages_stand_above_the_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar's line is erased, then the message and a new bar are drawn; the handler was made before the bar."""
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    set_up_log()
    with ProgressDisplay(terminal) as display:
        display.step("student", 1, 2, "task 0.5", rate="9 clips/s")
        before = terminal.getvalue()
        logging.getLogger("reskd").info("a message")
        drawn = terminal.getvalue()[len(before) :]
    assert "1/2" in before
    plain = re.sub(r"\x1b\[[0-9;]*m", "", drawn)
    assert re.match(r"\r\x1b\[2K\d\d:\d\d:\d\d a message\n(\r\x1b\[2K)?student .* 1/2 ", plain), plain


def test_the_exit_code_is_what_the_tool_returns() -> None:
    assert [run_tool(lambda arguments, code=code: code, []) for code in (None, 0, 3)] == [0, 0, 3]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("a: wrong\nb: wrong"), "a: wrong\nb: wrong"),
        (Stopped(signal.SIGTERM, "saved."), "stopped by SIGTERM; saved."),
        (KeyboardInterrupt(), "interrupted; run the same command again to resume from the last checkpoint."),
    ],
)
def test_torchruns_summary_shows_the_sentence(
    error: BaseException, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "error.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(path))
    code = run_tool(raising(error), [])  # type: ignore[arg-type]
    failure = ProcessFailure(local_rank=1, pid=5, exitcode=code, error_file=str(path))
    summary = ChildFailedError("train.py", {1: failure}).format_msg()
    assert f"traceback : {expected}".replace("\n", "\n  ") in summary


def test_an_error_raised_while_a_signal_is_handled_shows_with_traceback() -> None:
    def fails_when_interrupted(arguments: object) -> int:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise RuntimeError("unexpected pos") from None

    assert run_tool(fails_when_interrupted, []) == 130
    with pytest.raises(RuntimeError, match="unexpected pos"):
        run_tool(fails_when_interrupted, ["--traceback"])


def test_a_rank_that_lost_another_one_is_not_torchruns_first_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    assert run_tool(raising(ConnectionError("rank 0 lost another rank")), []) == 1  # type: ignore[arg-type]
    assert not (tmp_path / "error.json").exists()


# ---------------------------------------------------------------- standard streams, as a shell makes them

PRINTS = """
import sys
from reskd.cli import run_tool
def main(arguments):
    for number in range(200_000):
        print(number, "caf\u00e9")
    with open(arguments[0], "w") as file:
        file.write("done")
sys.exit(run_tool(main))
"""


def shell(tmp_path: Path, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``command`` in a shell in which TOOL prints a lot and then writes the file ``done``."""
    (tmp_path / "prints.py").write_text(PRINTS)
    command = command.replace("TOOL", f"{sys.executable} prints.py done")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", **environment}
    return subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )


def test_a_reader_that_goes_away_ends_the_tool_without_a_word(tmp_path: Path) -> None:
    result = shell(tmp_path, "TOOL | head -1; echo ${PIPESTATUS[0]}")
    assert (result.stdout.splitlines(), result.stderr) == (["0 caf\u00e9", "141"], "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_neither_stop_the_tool_nor_go_into_its_files(tmp_path: Path, closed: str) -> None:
    result = shell(tmp_path, f"TOOL {closed}")
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "done").read_text() == "done"


def test_output_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    result = shell(tmp_path, "TOOL > /dev/full")
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1 and "the disk is full" in result.stderr


def test_a_terminal_of_another_alphabet_gets_escapes(tmp_path: Path) -> None:
    result = shell(tmp_path, "TOOL | tail -1", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert (result.stdout, result.stderr) == ("199999 caf\\xe9\n", "")


def test_ctrl_c_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_tool(raising(KeyboardInterrupt()), []) == 130  # type: ignore[arg-type]
    assert "run the same command again" in capsys.readouterr().err


def test_the_tool_gets_its_arguments_without_the_common_ones() -> None:
    seen: list[Sequence[str]] = []
    assert run_tool(seen.append, ["a", "--traceback", "b"]) == 0
    assert seen == [["a", "b"]]
