"""Kill runs with SIGKILL at random moments, resume them, and compare them with the run never stopped, to the bit.

    python -m tests.attacks.kills --count 40 --seed 0

Half of the runs have one rank and half two; each is killed one to three times: after a random time in its training, or
as soon as the temporary file of a save is seen.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.attacks.runs import (
    differences,
    has_own_traceback,
    launch,
    num_logged,
    output_of,
    report,
    wait,
    wait_until_gone,
    write_experiment,
)


def attack(folder: Path, *, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Returns (number of outcomes by name, a line for each failure)."""
    rng, counts, failures = random.Random(seed), Counter[str](), list[str]()
    config, wholes = write_experiment(folder), dict[int, Path]()
    for number in range(count):
        num_ranks = 1 + number % 2
        if num_ranks not in wholes:
            wholes[num_ranks] = folder / f"whole{num_ranks}"
            if wait(launch(config, wholes[num_ranks], num_ranks=num_ranks)) != 0:
                return counts, [f"the run never stopped failed: {output_of(wholes[num_ranks]).read_text()[-2000:]}"]
        runs = folder / f"killed{number}"
        for _ in range(rng.randint(1, 3)):
            _kill_one(config, runs, num_ranks, rng, counts)
            failures += [f"run {number} left {line}" for line in wait_until_gone(runs)]
        code = wait(launch(config, runs, num_ranks=num_ranks))
        counts["resumed to the end"] += code == 0
        if code is None:
            failures.append(f"run {number} ({num_ranks} ranks) hung")
        elif code:
            failures.append(f"run {number} ({num_ranks} ranks) ended with {code}: {output_of(runs).read_text()[-500:]}")
        else:
            found = differences(runs, wholes[num_ranks])
            counts["equal to the bit"] += not found
            failures += [f"run {number} ({num_ranks} ranks) differs in {', '.join(found)}"] if found else []
        if has_own_traceback(runs) and code:
            failures.append(f"run {number} printed a traceback")
    return counts, failures


def _kill_one(config: Path, runs: Path, num_ranks: int, rng: random.Random, counts: Counter[str]) -> None:
    """Start the run and kill its process group, or with two ranks sometimes one of its processes."""
    process = launch(config, runs, num_ranks=num_ranks)
    logged = num_logged(runs)
    in_save, delay_s = rng.random() < 0.4, rng.random() * 1.0
    while process.poll() is None and num_logged(runs) <= logged:
        time.sleep(0.002)
    deadline = time.monotonic() + (10 if in_save else delay_s)
    while process.poll() is None and time.monotonic() < deadline:
        if in_save and any((runs / "tiny").glob(".*.tmp")):
            counts["killed in a save"] += 1
            break
    if process.poll() is None:
        counts["killed"] += 1
    _kill_group(process)


def _kill_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=40, help="runs (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts, failures = attack(Path(folder), count=chosen.count, seed=chosen.seed)
    return report("kills", chosen.count, counts, failures)


if __name__ == "__main__":
    sys.exit(main())
