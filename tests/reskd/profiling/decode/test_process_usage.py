"""Cpu time, bytes and memory of a process and its children."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reskd.profiling.decode import process_usage

# A process whose child works half a cpu-second, reads a file and then waits for its input to close.
_CHILD = (
    "import sys, time\n"
    "while time.process_time() < 0.5: pass\n"
    "open(sys.argv[1], 'rb').read(); keep = bytearray(b'x' * (64 << 20))\n"
    "print('done', flush=True); sys.stdin.read()"
)
_PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    file = tmp_path / "file"
    file.write_bytes(bytes(3 << 20))
    command = [sys.executable, "-c", _PARENT, _CHILD, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process


def test_a_child_counts_and_rest_begins_when_it_waits(worker: subprocess.Popen[str]) -> None:
    assert worker.stdout is not None
    began = time.perf_counter()
    assert worker.stdout.readline() == "done\n"
    told = time.perf_counter()
    quiet = process_usage.wait_until_quiet(worker.pid)
    assert len(process_usage.process_tree(worker.pid)) == 2
    assert 0.5 <= process_usage.cpu_seconds(worker.pid) < 2
    assert (3 << 20) <= process_usage.bytes_read(worker.pid) < (6 << 20)
    assert 64 < process_usage.memory_mib(worker.pid) < 200
    assert began < told - 0.4 and quiet - told < 5


def test_a_process_that_never_rests_is_named() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            with pytest.raises(TimeoutError, match=f"expected process {process.pid} to be idle within 0.5 s"):
                process_usage.wait_until_quiet(process.pid, timeout_seconds=0.5)
        finally:
            process.kill()


def test_a_process_that_has_ended_has_used_nothing_more() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert process_usage.cpu_seconds(process.pid) == process_usage.bytes_read(process.pid) == 0
    assert process_usage.memory_mib(process.pid) == 0


def test_the_numbers_agree_with_the_system_for_this_process() -> None:
    assert process_usage.cpu_seconds(os.getpid()) >= time.process_time() - 0.1
