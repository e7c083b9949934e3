"""Signals that ask a run to stop: it saves at the end of a step and exits as a preempted job should.

SIGTERM (a scheduler's preemption), SIGUSR1 (Slurm's --signal=USR1@60) and SIGHUP (a closed terminal) raise ``Stopped``
at once, except inside ``deferred()``, where they are only remembered: the training loop asks ``asked()`` after each
step, saves and raises ``Stopped`` itself. SIGINT (Ctrl-C) raises KeyboardInterrupt at once. A second signal ends the
process. The exit code is 128 + the signal's number.

Note [Why a thread listens]
Python runs its signal handlers between two instructions of the main thread, which may wait for other ranks in a
collective. The wakeup descriptor is written by the C handler itself, so a thread learns of a signal in any case. It
ends the process where the main thread does not: after ``_LIMITS_S``, and at a second signal. torchrun kills its ranks
30 s after a SIGTERM. What the process leaves behind is removed by the next start, and its workers end with it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

_ASKING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
# Seconds until a signal ends the process, whatever the main thread does.
_INTERRUPT_S, _OUTSIDE_S, _WITH_OTHER_RANKS_S = 2.0, 10.0, 25.0
# A scheduler signals torchrun and its ranks, and torchrun signals the ranks again: one request, not two.
_REPEATED_S = 10.0
_GO_ON = "run the same command again to resume from the last checkpoint."


class Stopped(BaseException):
    """The run was asked to stop. ``str()`` is a sentence for the user.

    Args:
        signum: number of the signal.
        what: what became of the run.
    """

    def __init__(self, signum: int, what: str = _GO_ON) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}; {what}")
        self.signum = signum


class StopSignals:
    """What a process has received. Without ``listening`` it receives nothing."""

    def __init__(self) -> None:
        self._signum = 0
        self._is_deferred = False

    def asked(self) -> int:
        """The number of the signal that asked to stop; 0 if none did."""
        return self._signum

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, a signal that asks to stop is only remembered; at the end, one that nobody acted on is raised."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False
        if self._signum:
            raise Stopped(self._signum)

    @contextlib.contextmanager
    def listening(self) -> Iterator[StopSignals]:
        """Install the handlers until the end of the block, in the main thread; elsewhere do nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        # A signal that is ignored stays so: nohup's SIGHUP, SIGINT of a job in the background.
        signals = [one for one in (*_ASKING, signal.SIGINT) if signal.getsignal(one) is not signal.SIG_IGN]
        before = {one: signal.signal(one, self._handle) for one in signals}
        hook = sys.unraisablehook
        sys.unraisablehook = functools.partial(self._unraisable, hook)
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._listen, args=(reader, set(signals)), name="signals", daemon=True).start()
        try:
            yield self
        finally:
            sys.unraisablehook = hook
            signal.set_wakeup_fd(descriptor)
            for one, handler in before.items():
                signal.signal(one, handler)
            writer.close()  # ends the thread

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        is_first, self._signum = not self._signum, self._signum or signum
        if not is_first:
            return
        if signum == signal.SIGINT:
            raise KeyboardInterrupt
        if not self._is_deferred:
            raise Stopped(signum)

    def _unraisable(self, hook: Callable[[sys.UnraisableHookArgs], object], lost: sys.UnraisableHookArgs) -> None:
        """A signal that arrives in a callback or ``__del__`` is printed by Python, and goes on: end the process."""
        if isinstance(lost.exc_value, KeyboardInterrupt | Stopped):
            _exit(self._signum or signal.SIGINT, "while Python tidied up")
        hook(lost)

    def _listen(self, reader: socket.socket, signals: set[signal.Signals]) -> None:
        """See Note [Why a thread listens]."""
        first: int | None = None
        first_s, limit_s = 0.0, None
        with reader:
            while True:
                left_s = None if limit_s is None else max(0.0, first_s + limit_s - time.monotonic())
                reader.settimeout(left_s)
                try:
                    received = reader.recv(1)
                except TimeoutError:
                    _exit(first or signal.SIGTERM, "the process did not end in time")
                if not received:
                    return
                signum, now_s = received[0], time.monotonic()
                if signum not in signals:
                    continue
                if first is None:
                    first, first_s, limit_s = signum, now_s, self._limit_s(signum)
                elif not _is_repeated(signum, first, now_s - first_s):
                    _exit(signum, "ended at once by a second signal")

    def _limit_s(self, signum: int) -> float | None:
        if signum == signal.SIGINT:
            return _INTERRUPT_S
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            return _WITH_OTHER_RANKS_S
        return None if self._is_deferred else _OUTSIDE_S


def _is_repeated(signum: int, first: int, after_s: float) -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ and signum == first and after_s < _REPEATED_S


def tell_torchrun(text: str) -> None:
    """Have torchrun's summary of failed ranks show a sentence, where it else says how tracebacks are enabled.

    The file's format is that of torch.distributed.elastic.multiprocessing.errors, which shows "py_callstack".
    """
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not path:
        return
    about = {"py_callstack": text, "timestamp": str(int(time.time()))}
    with contextlib.suppress(OSError):
        Path(path).write_text(json.dumps({"message": {"message": text, "extraInfo": about}}))


def _exit(signum: int, why: str) -> None:
    text = f"stopped by {signal.Signals(signum).name} ({why}); {_GO_ON}"
    with contextlib.suppress(Exception):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
        tell_torchrun(text)
    os._exit(128 + signum)
