"""Start worker processes with few imports, and end them with their parent.

Note [Why workers do not import the main module]
``spawn`` makes every child import the parent's ``__main__`` again. For a training script that means torch in each
worker (539 MB and 2.5 s each, measured), although a worker needs only numpy and av. If the main module is hidden while
the children start, they import only what their callback needs.

Note [Death with the parent]
A killed parent cannot clean up, and its workers would wait on their queue forever. PR_SET_PDEATHSIG makes the kernel
kill a child when the *thread* that started it ends: start a loader from a thread that stays alive.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import multiprocessing.util
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType
from typing import NoReturn

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def ask_for_death_with_parent() -> None:
    """Make Linux kill this process when the thread that started it ends for any reason; elsewhere do nothing."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


def die_with_parent(parent_pid: int) -> None:
    """Make the kernel kill this process when its parent ``parent_pid`` ends; Ctrl-C is left to the parent.

    Does nothing in a process that ``multiprocessing`` did not start, or that has another parent.
    """
    parent = multiprocessing.parent_process()
    if sys.platform != "linux" or parent is None or parent.pid != parent_pid:
        return
    ask_for_death_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent ends its workers itself
    if os.getppid() != parent_pid:  # the parent ended before the call
        os.kill(os.getpid(), signal.SIGKILL)


def end_in_order_at_sigterm() -> None:
    """Have SIGTERM raise SystemExit in this process, so that it closes what it holds; later ones do nothing."""
    signal.signal(signal.SIGTERM, _leave)


def _leave(signum: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.unraisablehook = lambda lost: None  # in a callback or __del__ Python would print the exception
    # The last of multiprocessing's own tidying up: what C++ libraries do after it took more than 8 s with DALI.
    multiprocessing.util.Finalize(None, os._exit, args=(128 + signum,), exitpriority=-1000)
    raise SystemExit(128 + signum)


@contextmanager
def starting_workers() -> Iterator[None]:
    """Processes spawned inside do not import ``__main__``; see Note [Why workers do not import the main module].

    Nor do they take notice of Ctrl-C, which a terminal sends to all: one that is still importing would print a
    traceback. They inherit that the signal is blocked; in this process it waits for the end of the block.
    """
    main = sys.modules["__main__"]
    missing = object()
    saved = {name: getattr(main, name, missing) for name in ("__spec__", "__file__")}
    with _interrupt_waits():
        main.__spec__ = None
        if saved["__file__"] is not missing:
            del main.__file__
        try:
            yield
        finally:
            for name, value in saved.items():
                if value is not missing:
                    setattr(main, name, value)


@contextmanager
def _interrupt_waits() -> Iterator[None]:
    """SIGINT is blocked in this thread, and one that another thread takes is handled at the end of the block."""
    resource_tracker.ensure_running()  # its start, which the first process would bring about, unblocks the signal
    arrived = []
    handler = signal.getsignal(signal.SIGINT)
    replaced = handler is not None and threading.current_thread() is threading.main_thread()
    if replaced:
        signal.signal(signal.SIGINT, lambda signum, frame: arrived.append(signum))
    blocked_before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked_before)
        if replaced:
            signal.signal(signal.SIGINT, handler)
        if arrived:
            signal.raise_signal(signal.SIGINT)
