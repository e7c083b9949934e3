from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dali_pipes.loader import watchdog
from dali_pipes.loader.watchdog import Watchdog, WorkerHeartbeat, find_hangs, forget

HANG = (
    "import sys, time; from pathlib import Path; from dali_pipes.loader.watchdog import WorkerHeartbeat\n"
    "heartbeat = WorkerHeartbeat(Path(sys.argv[1]))\n"
    "for row in range(50):\n"
    "    with heartbeat.reading(row): time.sleep(0.01)\n"
    "with heartbeat.reading(77):\n"
    "    print('reading', flush=True); time.sleep(60)\n"
)


def start_worker(folder: Path, code: str = HANG) -> subprocess.Popen[str]:
    worker = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None and worker.stdout.readline() == "reading\n"
    return worker


def wait_for(condition: object, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:  # type: ignore[operator]
        time.sleep(0.02)
    return bool(condition())  # type: ignore[operator]


def test_a_hang_is_a_row_that_is_read_for_too_long(tmp_path: Path) -> None:
    heartbeat = WorkerHeartbeat(tmp_path)
    assert find_hangs(tmp_path, 0.0) == []
    with heartbeat.reading(5):
        time.sleep(0.05)
        (hang,) = find_hangs(tmp_path, 0.04)
        assert (hang.pid, hang.row) == (os.getpid(), 5) and 0.04 < hang.seconds < 10
        assert find_hangs(tmp_path, 10.0) == []
    assert find_hangs(tmp_path, 0.0) == []


def test_a_read_that_fails_is_no_hang(tmp_path: Path) -> None:
    heartbeat = WorkerHeartbeat(tmp_path)
    with pytest.raises(ValueError, match="broken"), heartbeat.reading(5):
        raise ValueError("broken")
    assert find_hangs(tmp_path, 0.0) == []


def test_a_worker_that_hangs_is_killed_and_named(tmp_path: Path) -> None:
    worker = start_worker(tmp_path)
    dog = Watchdog(tmp_path, patience_s=0.3)
    try:
        assert worker.wait(timeout=10) == -signal.SIGKILL
        assert wait_for(lambda: dog.hangs)
    finally:
        dog.close()
    assert [(hang.pid, hang.row) for hang in dog.hangs] == [(worker.pid, 77)] and dog.hangs[0].seconds >= 0.3


def test_a_worker_that_goes_on_is_left_alone(tmp_path: Path) -> None:
    code = HANG.replace("range(50)", "range(100)").replace("time.sleep(60)", "")
    code = code.replace("diary = ", "print('reading', flush=True); diary = ").replace(
        "print('reading', flush=True); t", "t"
    )
    worker = start_worker(tmp_path, code)
    dog = Watchdog(tmp_path, patience_s=0.4)
    assert worker.wait(timeout=20) == 0
    dog.close()
    assert dog.hangs == []


def test_a_process_that_is_not_our_child_is_not_killed(tmp_path: Path) -> None:
    """A number in a note that was left lying may be another's by now."""
    code = (
        "import subprocess, sys\n"
        f"worker = subprocess.Popen([sys.executable, '-c', {HANG!r}, sys.argv[1]])\n"
        "sys.stdin.read(); worker.kill(); worker.wait()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None and parent.stdout.readline() == "reading\n"
    dog = Watchdog(tmp_path, patience_s=0.2)
    assert wait_for(lambda: find_hangs(tmp_path, 0.5))
    time.sleep(0.3)
    (hang,) = find_hangs(tmp_path, 0.2)
    dog.close()
    assert dog.hangs == [] and Path(f"/proc/{hang.pid}").exists()
    parent.communicate("", timeout=10)


def test_notes_that_are_torn_or_vanish_do_not_stop_the_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reading-1").write_bytes(b"\0" * 7)
    (tmp_path / "reading-2").write_bytes(b"")
    assert find_hangs(tmp_path, 0.0) == []
    (tmp_path / "reading-3").symlink_to(tmp_path / "gone")  # as a note that is removed while they are looked at
    assert find_hangs(tmp_path, 0.0) == []


def test_forgotten_notes_are_gone(tmp_path: Path) -> None:
    WorkerHeartbeat(tmp_path)
    (tmp_path / "rows.npy").write_bytes(b"")
    forget(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.npy"]


def test_closing_ends_the_thread_at_once(tmp_path: Path) -> None:
    before = time.monotonic()
    Watchdog(tmp_path, patience_s=600).close()
    assert time.monotonic() - before < 2
    assert watchdog.find_hangs(tmp_path, 0.0) == []
