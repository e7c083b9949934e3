from __future__ import annotations

from collections.abc import Sequence

import pytest

from reskd.cli import run_tool


def raising(error: BaseException) -> object:
    def main(arguments: Sequence[str]) -> None:
        raise error

    return main


@pytest.mark.parametrize("error", [ValueError("a: wrong\nb: wrong"), FileNotFoundError("a: wrong\nb: wrong")])
def test_a_users_fault_is_a_line_each_and_exit_code_1(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_tool(raising(error), []) == 1  # type: ignore[arg-type]
    assert capsys.readouterr().err == "error: a: wrong\nerror: b: wrong\n"


def test_traceback_on_demand_and_always_for_our_own_faults() -> None:
    with pytest.raises(ValueError, match="x"):
        run_tool(raising(ValueError("x")), ["--traceback"])  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        run_tool(raising(AssertionError()), [])  # type: ignore[arg-type]


def test_ctrl_c_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_tool(raising(KeyboardInterrupt()), []) == 130  # type: ignore[arg-type]
    assert "run the same command again" in capsys.readouterr().err


def test_the_tool_gets_its_arguments_without_the_common_ones() -> None:
    seen: list[Sequence[str]] = []
    assert run_tool(seen.append, ["a", "--traceback", "b"]) == 0
    assert seen == [["a", "b"]]
