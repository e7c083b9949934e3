"""Run tools/train.py so that from the k-th file on which it opens for writing in its run's folder, no file may grow.

    python -m tests.attacks.limited K tools/train.py CONFIG ...

The limit is the kernel's, on the size of a file: writes fail with EFBIG, as they fail with ENOSPC on a full disk. It
holds for all files, but not for pipes.
"""

from __future__ import annotations

import os
import resource
import runpy
import sys

_WRITES = os.O_WRONLY | os.O_RDWR


def main() -> None:
    left = int(sys.argv[1])
    sys.argv = sys.argv[2:]
    runs = next(one.removeprefix("runs=") for one in sys.argv if one.startswith("runs="))

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event != "open" or not str(arguments[0]).startswith(runs):
            return
        flags = arguments[2]
        if isinstance(flags, int) and flags & _WRITES:
            left -= 1
            if left == 0:
                resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    sys.addaudithook(count)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
