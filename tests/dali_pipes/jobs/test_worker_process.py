"""What is left behind when a process that reads clips is killed."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import pytest

from dali_pipes.jobs.worker_process import die_with_parent, starting_workers

READER = """
import sys
from pathlib import Path
from tests.dali_pipes.loaders import clip_loader
from tests.dali_pipes.loader.test_clip_loader import make_config, make_manifest

config = make_config(Path(sys.argv[1]), num_workers=2)
loader = clip_loader(make_manifest(config), config, views=("student",), mode="train", batch_size=2)
for batch in loader:
    print("batch", flush=True)
"""


def _descendants(pid: int) -> set[int]:
    """All living processes that descend from ``pid``."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if stat[0] != "Z":
            parents[int(folder.name)] = int(stat[1])
    found: set[int] = set()
    fresh = {pid}
    while fresh:
        fresh = {child for child, parent in parents.items() if parent in fresh} - found
        found |= fresh
    return found


def _segments(pids: set[int]) -> set[Path]:
    """The shared memory that processes ``pids`` have mapped."""
    maps = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in pids)
    return {Path(name) for name in re.findall(r"/dev/shm/\S+", maps)} & _all_segments()


def _all_segments() -> set[Path]:
    return set(Path("/dev/shm").iterdir())


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return condition()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and /dev/shm")
def test_a_killed_reader_leaves_no_worker_and_no_shared_memory(make_folder: Callable[..., Path]) -> None:
    pytest.importorskip("nvidia.dali")
    folder = make_folder({"a": ["libx264"] * 2, "b": ["mjpeg"] * 2}, num_frames=24)
    reader = subprocess.Popen([sys.executable, "-c", READER, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "batch\n"
        children = _descendants(reader.pid)
        segments = _segments({reader.pid, *children})
        assert len(children) >= 2 and segments
    finally:
        reader.send_signal(signal.SIGKILL)
        reader.wait()
    assert _wait_until(lambda: not any(map(_alive, children)), 60)
    assert _wait_until(lambda: not segments & _all_segments(), 60)


def test_a_process_that_was_not_spawned_lives_on() -> None:
    die_with_parent(os.getpid())
    die_with_parent(os.getppid())


def test_the_main_module_comes_back() -> None:
    main = sys.modules["__main__"]
    before = (main.__spec__, getattr(main, "__file__", None))
    with starting_workers():
        assert main.__spec__ is None and not hasattr(main, "__file__")
    assert (main.__spec__, getattr(main, "__file__", None)) == before


def _is_interrupt_blocked(answer: SimpleQueue[bool]) -> None:
    answer.put(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))


@pytest.fixture(params=["this thread", "another thread"])
def interrupt(request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
    """Sends Ctrl-C; the kernel gives one of a terminal to any thread that has not blocked it."""
    if request.param == "this thread":
        yield partial(signal.raise_signal, signal.SIGINT)
        return
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()  # the thread starts here: it inherits what is blocked
        yield lambda: pool.submit(signal.raise_signal, signal.SIGINT).result()


def test_ctrl_c_waits_until_the_workers_are_started_and_does_not_reach_them(interrupt: Callable[[], None]) -> None:
    main = sys.modules["__main__"]
    before = (main.__spec__, getattr(main, "__file__", None), signal.getsignal(signal.SIGINT))
    context = multiprocessing.get_context("spawn")
    answer: SimpleQueue[bool] = context.SimpleQueue()
    with pytest.raises(KeyboardInterrupt), starting_workers():
        interrupt()
        process = context.Process(target=_is_interrupt_blocked, args=(answer,))
        process.start()
        assert main.__spec__ is None
    assert (main.__spec__, getattr(main, "__file__", None), signal.getsignal(signal.SIGINT)) == before
    assert answer.get()
    process.join()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


FIRST_PROCESS = """
import multiprocessing, signal
from dali_pipes.jobs.worker_process import starting_workers

with starting_workers():
    multiprocessing.get_context("spawn").Process(target=print).start()
    assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
"""


def test_the_first_process_of_an_interpreter_does_not_let_ctrl_c_through() -> None:
    subprocess.run([sys.executable, "-c", FIRST_PROCESS], check=True, timeout=120)
