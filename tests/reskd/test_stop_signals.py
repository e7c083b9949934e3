"""Signals as a process gets them: real signals, real exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reskd.stop_signals import Stopped, StopSignals

ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = """
import os, signal, sys, time
from reskd.cli import run_tool
from reskd.stop_signals import Stopped, StopSignals

def main(arguments):
    with StopSignals().listening() as signals:
        {body}

sys.exit(run_tool(main))
"""


def run(body: str, *signums: int, **environment: str) -> tuple[int, str]:
    """Start a program that prints a line when it is ready; send it signals, each after its next line."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM.format(body=body)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # nohup's programs inherit that it is ignored
    )
    assert process.stdout is not None
    for signum in signums:
        process.stdout.readline()
        process.send_signal(signum)
    _, errors = process.communicate(timeout=300)
    return process.returncode, errors


WAITS = "print('ready', flush=True); signal.pause(); time.sleep(600)"
DEFERRED = """
        with signals.deferred():
            print('ready', flush=True)
            while not signals.asked():  # pause() would miss a signal that comes before it
                time.sleep(0.01)
            raise Stopped(signals.asked(), 'step 7 is saved.')
"""
HANGS = """
        import ctypes
        with signals.deferred():
            print('ready', flush=True)
            while True:
                ctypes.CDLL(None).usleep(100000)
                if signals.asked():
                    print('asked', flush=True)
                    while True:
                        time.sleep(600)
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_outside_a_training_loop_a_signal_stops_at_once(signum: signal.Signals) -> None:
    code, errors = run(WAITS, signum)
    assert code == 128 + signum
    assert errors == f"stopped by {signum.name}; run the same command again to resume from the last checkpoint.\n"


def test_ctrl_c_ends_with_130() -> None:
    code, errors = run(WAITS, signal.SIGINT)
    assert code == 130 and "Traceback" not in errors and errors.startswith("interrupted; run the same command")


def test_ctrl_c_while_python_tidies_up_prints_no_traceback() -> None:
    body = """
        class Slow:
            def __del__(self):
                print('ready', flush=True)
                while True:
                    time.sleep(0.01)
        Slow()
"""
    code, errors = run(body, signal.SIGINT)
    assert code == 130 and "Traceback" not in errors and "stopped by SIGINT (while Python tidied up)" in errors


def test_ctrl_c_in_a_write_that_then_fails_is_no_fault() -> None:
    body = """
        try:
            print('ready', flush=True)
            time.sleep(600)
        finally:
            raise RuntimeError('[enforce fail at inline_container.cc:668] . unexpected pos')  # as torch.save does
"""
    code, errors = run(body, signal.SIGINT)
    assert (code, errors) == (130, "interrupted; run the same command again to resume from the last checkpoint.\n")


def test_ctrl_c_of_a_program_that_is_ending_prints_no_traceback() -> None:
    body = """
        import atexit
        def tidy_up():
            print('ready', flush=True)
            while True:
                time.sleep(0.01)
        atexit.register(tidy_up)
        raise KeyboardInterrupt
"""
    code, errors = run(body, signal.SIGINT)
    assert code == -signal.SIGINT and errors.startswith("interrupted; run the same command") and "Tr" not in errors


def test_in_a_training_loop_the_run_says_when_it_stops() -> None:
    assert run(DEFERRED, signal.SIGTERM) == (143, "stopped by SIGTERM; step 7 is saved.\n")


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process_at_once(second: signal.Signals) -> None:
    code, errors = run(HANGS, signal.SIGTERM, second)
    assert code == 128 + second
    assert f"stopped by {second.name} (ended at once by a second signal)" in errors


def test_under_torchrun_a_request_that_arrives_twice_is_one() -> None:
    body = """
        with signals.deferred():
            print('ready', flush=True)
            while not signals.asked():
                time.sleep(0.01)
            print('asked', flush=True)
            time.sleep(2)  # the second request comes in this time; if not, the result is the same
            raise Stopped(signals.asked(), 'step 7 is saved.')
"""
    code, errors = run(body, signal.SIGTERM, signal.SIGTERM, TORCHELASTIC_RUN_ID="x")
    assert (code, errors) == (143, "stopped by SIGTERM; step 7 is saved.\n")


def test_a_main_thread_that_waits_for_other_ranks_is_ended_by_ctrl_c() -> None:
    body = """
        import ctypes
        print('ready', flush=True)
        while True:
            try:
                ctypes.CDLL(None).sleep(600)
            except KeyboardInterrupt:  # as if the exception had come while it waits in C
                pass
"""
    code, errors = run(body, signal.SIGINT)
    assert code == 130 and "Traceback" not in errors


def test_an_ignored_signal_stays_ignored_and_the_handlers_are_put_back() -> None:
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals().listening() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.asked() == 0
            with pytest.raises(Stopped), signals.deferred():
                os.kill(os.getpid(), signal.SIGTERM)
                assert signals.asked() == signal.SIGTERM
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, ignored)
    assert {one: signal.getsignal(one) for one in before} == before
