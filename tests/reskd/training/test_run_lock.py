from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reskd.training.run_lock import LOCK_NAME, RunLock

ROOT = Path(__file__).resolve().parents[3]
HOLDER = """
import sys, time
from pathlib import Path
from reskd.training.run_lock import RunLock
RunLock(Path(sys.argv[1])).take()
print("taken", flush=True)
time.sleep(600)
"""


def note(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / LOCK_NAME).read_text()))


def test_a_second_run_is_refused_by_host_and_process_until_the_first_has_ended(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "x"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "taken\n"
    with pytest.raises(BlockingIOError, match=rf"x: expected no other run .* process {holder.pid} on .*; wait for it"):
        RunLock(folder).take()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    lock = RunLock(folder)  # a stale one is taken over
    lock.take()
    assert note(folder)["pid"] == os.getpid()
    lock.release()
    assert list(folder.iterdir()) == []


def test_a_start_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    lock = RunLock(tmp_path / "runs" / "x")
    lock.take()
    lock.release()
    lock.release()
    assert list(tmp_path.iterdir()) == []


def write_note(folder: Path, **changes: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    values = {"host": "node7", "pid": 12, "started": "2026-01-01T00:00:00+00:00", "job": None, "ticks": 5}
    (folder / LOCK_NAME).write_text(json.dumps(values | changes))


def test_what_another_machine_left_is_believed_until_it_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    write_note(tmp_path)
    with pytest.raises(BlockingIOError, match=rf"process 12 on node7, .*; if it has ended, delete .*{LOCK_NAME}"):
        RunLock(tmp_path).take()
    (tmp_path / LOCK_NAME).unlink()
    RunLock(tmp_path).take()


def test_a_job_that_the_scheduler_started_again_takes_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    write_note(tmp_path, job="76")
    with pytest.raises(BlockingIOError, match="node7"):
        RunLock(tmp_path).take()
    write_note(tmp_path, job="77")
    RunLock(tmp_path).take()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff" * 50])
def test_a_damaged_note_is_no_holder(content: bytes, tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_bytes(content)
    RunLock(tmp_path).take()
    assert note(tmp_path)["pid"] == os.getpid()


def test_a_lock_that_was_deleted_is_taken_anew(tmp_path: Path) -> None:
    lock = RunLock(tmp_path / "x")
    lock.take()
    (tmp_path / "x" / LOCK_NAME).unlink()
    (tmp_path / "x").rmdir()
    lock.ensure()
    assert note(tmp_path / "x")["pid"] == os.getpid()
    other = RunLock(tmp_path / "x")
    (tmp_path / "x" / LOCK_NAME).unlink()
    other.take()
    with pytest.raises(BlockingIOError, match="expected no other run"):
        lock.ensure()


@pytest.mark.parametrize("is_alive", [True, False])
def test_without_the_kernels_lock_the_note_decides(
    is_alive: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("reskd.training.run_lock.fcntl.flock", no_locks)
    RunLock(tmp_path).take()  # ours, and alive
    if is_alive:
        with pytest.raises(BlockingIOError, match=f"process {os.getpid()} on"):
            RunLock(tmp_path).take()
    else:
        write_note(tmp_path, host=note(tmp_path)["host"], pid=os.getpid(), ticks=1)  # the number was used again
        RunLock(tmp_path).take()


def test_a_pipe_in_place_of_the_lock_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.lock")
    with pytest.raises(ValueError, match=r"run\.lock: expected the lock of a run, found no regular file; remove it\."):
        RunLock(tmp_path).take()
