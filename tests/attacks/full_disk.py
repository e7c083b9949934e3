"""Let every write of a run fail, one after the other, as on a full disk; then resume, to the bit.

    python -m tests.attacks.full_disk

The run is started for k = 1, 2, 3, ... until it ends well. In each start, the kernel refuses the k-th file that the
run opens for writing in its folder, and all after it (see limited.py). Such a start must end with one sentence that
names a file, leave no temporary file and a readable last.pt; and the same command then ends as the run never stopped.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from itertools import count as numbers
from pathlib import Path

from reskd.training.checkpoint import load_checkpoint
from tests.attacks.runs import ROOT, differences, launch, output_of, report, wait, write_experiment


def attack(folder: Path, writes: Iterable[int], *, epochs: int = 3) -> tuple[Counter[str], list[str]]:
    """Returns (number of outcomes by name, a line for each failure); ends at the first start without a failed write."""
    counts, failures = Counter[str](), list[str]()
    config, whole = write_experiment(folder, epochs=epochs), folder / "whole"
    if wait(launch(config, whole)) != 0:
        return counts, [f"the run never stopped failed: {output_of(whole).read_text()[-2000:]}"]
    for number in writes:
        runs = folder / f"full{number}"
        done = subprocess.run(
            [sys.executable, "-m", "tests.attacks.limited", str(number), "tools/train.py", str(config), f"runs={runs}"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if done.returncode == 0 and "TensorBoard's events stop" not in done.stderr:
            break
        counts["tried"] += 1
        failures += [f"write {number}: {fault}" for fault in _faults(done, runs)]
        counts["refused in a sentence"] += done.returncode == 1
        code = wait(launch(config, runs))
        found = differences(runs, whole) if code == 0 else [f"exit code {code}: {output_of(runs).read_text()[-500:]}"]
        counts["equal to the bit"] += not found
        failures += [f"write {number}: differs in {', '.join(found)}"] if found else []
    return counts, failures


def _faults(done: subprocess.CompletedProcess[str], runs: Path) -> list[str]:
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    faults = ["printed a traceback"] if "Traceback" in done.stderr else []
    if done.returncode != 0 and (done.returncode != 1 or len(said) != 1 or str(runs) not in said[0]):
        faults.append(f"ended with {done.returncode} and {said or done.stderr[-300:]}")
    run = runs / "tiny"
    faults += [f"left {path.name}" for path in run.glob(".*.tmp")]
    try:
        if (run / "last.pt").exists():
            load_checkpoint(run / "last.pt")
    except ValueError as error:
        faults.append(str(error))
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="most writes to refuse (default: every one)")
    parser.add_argument("--seed", type=int, default=0, help="not used: every write is tried")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        writes = range(1, chosen.count + 1) if chosen.count else numbers(1)
        counts, failures = attack(Path(folder), writes)
    return report("full disk", counts.pop("tried", 0), counts, failures)


if __name__ == "__main__":
    sys.exit(main())
