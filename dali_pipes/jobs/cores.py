"""How many processor cores this process may use, and how many processes and threads a loader starts on them.

Cores are those of the process's affinity mask, within the quota of its container or job.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from dali_pipes.jobs.control_groups import folders_of_groups

# DALI decodes one clip on each of its threads, and between pictures a thread waits for the GPU: this many threads keep
# an engine busy (read in DALI's sources; not measured).
_THREADS_AN_ENGINE = 3
_ENGINES_IF_UNKNOWN = 3
# A worker that only reads packets takes a few milliseconds a clip; one that decodes, 25 to 200.
_MOST_READERS = 4


def usable_cores() -> int:
    """At least 1; a quota of 2.5 cores counts as 3."""
    cores = len(os.sched_getaffinity(0))
    quotas = [quota for folder in folders_of_groups("cpu") if (quota := _quota_of(folder)) is not None]
    return max(1, min([cores, *(-int(-quota // 1) for quota in quotas)]))


def cores_of_rank() -> int:
    """This process's part of the cores, if torchrun started several on this machine; at least 1."""
    return max(1, usable_cores() // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


class Parallelism(NamedTuple):
    """Worker processes, and DALI's threads, of one rank's loader."""

    num_workers: int
    num_threads: int


def choose_parallelism(cores: int, *, on_gpu: bool, num_engines: int, pyav_share: float) -> Parallelism:
    """The numbers that suit these cores.

    On a CPU training needs the cores too, and the workers decode. On a GPU a core is left for the training loop; DALI's
    threads come first, then workers, which decode the files that DALI does not.

    Args:
        cores: of this rank.
        num_engines: of the GPU's video decoder; 0 if unknown.
        pyav_share: share of the files that workers decode.
    """
    if not on_gpu:
        return Parallelism(min(cores, max(2, cores // 4)), min(cores, 2))
    num_threads = min(cores, 2)
    if pyav_share < 1:
        num_threads = max(num_threads, min(_THREADS_AN_ENGINE * (num_engines or _ENGINES_IF_UNKNOWN), cores // 2))
    left = max(1, cores - num_threads - 1)
    return Parallelism(left if pyav_share else min(left, _MOST_READERS), num_threads)


def _quota_of(folder: Path) -> float | None:
    """Cores that a control group grants, of version 2 or 1; None if it sets no limit."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        found = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no such group; "max"
        return None
    return found if found > 0 else None
