"""Run a program that signals itself at the n-th call of a function, before the call.

    python -m tests.attacks.self_signaled SIGTERM 3 reskd.training.trainer:Trainer._validate tools/train.py ...

So a signal arrives at one exact moment, on machines of any speed.
"""

from __future__ import annotations

import functools
import importlib
import os
import runpy
import signal
import sys
from typing import Any


def main() -> None:
    signum, count, target = signal.Signals[sys.argv[1]], int(sys.argv[2]), sys.argv[3]
    sys.argv = sys.argv[4:]
    module, _, name = target.partition(":")
    *outer, function = name.split(".")
    holder: Any = functools.reduce(getattr, outer, importlib.import_module(module))
    called = getattr(holder, function)
    num_calls = 0

    @functools.wraps(called)
    def signaled(*positional: Any, **named: Any) -> Any:
        nonlocal num_calls
        num_calls += 1
        if num_calls == count:
            os.kill(os.getpid(), signum)
        return called(*positional, **named)

    setattr(holder, function, signaled)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
