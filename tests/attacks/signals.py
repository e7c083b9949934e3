"""Signal runs at their start, in a step and in a save, with one and two ranks; then resume them, to the bit.

    python -m tests.attacks.signals --seed 0

SIGINT goes to the whole process group, as a terminal sends it; SIGTERM, SIGHUP and SIGUSR1 to the process that the
user started, with two ranks torchrun for SIGTERM and SIGHUP, and all ranks for SIGUSR1, which torchrun does not take.
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
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.attacks.runs import (
    differences,
    has_own_traceback,
    launch,
    num_logged,
    output_of,
    rank_pids,
    report,
    wait,
    wait_until_gone,
    write_experiment,
)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
MOMENTS = ("start", "step", "save")


class Case(NamedTuple):
    signum: signal.Signals
    moment: str
    num_ranks: int

    def __str__(self) -> str:
        return f"{self.signum.name} in a {self.moment}, {self.num_ranks} ranks"


ALL = [Case(signum, moment, num_ranks) for num_ranks in (1, 2) for signum in SIGNALS for moment in MOMENTS]


def attack(folder: Path, cases: Sequence[Case], *, seed: int = 0, epochs: int = 12) -> tuple[Counter[str], list[str]]:
    """Returns (number of outcomes by name, a line for each failure)."""
    rng, counts, failures = random.Random(seed), Counter[str](), list[str]()
    config, wholes = write_experiment(folder, epochs=epochs), dict[int, Path]()
    for number, case in enumerate(cases):
        if case.num_ranks not in wholes:
            wholes[case.num_ranks] = folder / f"whole{case.num_ranks}"
            if wait(launch(config, wholes[case.num_ranks], num_ranks=case.num_ranks)) != 0:
                return counts, [
                    f"the run never stopped failed: {output_of(wholes[case.num_ranks]).read_text()[-2000:]}"
                ]
        runs = folder / f"signaled{number}"
        process = launch(config, runs, num_ranks=case.num_ranks)
        _wait_for(case.moment, process, runs, rng)
        was_running = process.poll() is None
        _send(case, process, runs)
        code = wait(process)
        failures += [f"{case}: {fault}" for fault in _faults(case, code, runs, was_running=was_running)]
        failures += [f"{case}: left {line}" for line in wait_until_gone(runs)]
        counts["signaled"] += was_running
        counts["saved and stopped"] += "is saved; run the same command" in output_of(runs).read_text()
        code = wait(launch(config, runs, num_ranks=case.num_ranks))
        found = differences(runs, wholes[case.num_ranks]) if code == 0 else [f"exit code {code}"]
        counts["equal to the bit"] += not found
        failures += [f"{case}: differs in {', '.join(found)}"] if found else []
    return counts, failures


def _wait_for(moment: str, process: subprocess.Popen[str], runs: Path, rng: random.Random) -> None:
    """Until the run has reached the moment, or has ended."""
    run = runs / "tiny"
    while process.poll() is None:
        if moment == "start" and (run / "run.lock").exists():
            return
        if moment == "step" and num_logged(runs) >= 1 + rng.randrange(3):
            return
        if moment == "save" and any(run.glob(".*.pt.*.tmp")):
            return
        if num_logged(runs) >= 12:  # the saves were too quick to be seen
            return
        time.sleep(0.001)


def _send(case: Case, process: subprocess.Popen[str], runs: Path) -> None:
    if process.poll() is not None:
        return
    if case.signum == signal.SIGINT:
        os.killpg(process.pid, signal.SIGINT)
        for pid in rank_pids(runs) if case.num_ranks > 1 else []:  # torchrun's ranks are in a terminal's group too
            _kill(pid, signal.SIGINT)
    elif case.signum == signal.SIGUSR1 and case.num_ranks > 1:
        for pid in rank_pids(runs):
            _kill(pid, case.signum)
    else:
        process.send_signal(case.signum)


def _kill(pid: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)


def _faults(case: Case, code: int | None, runs: Path, *, was_running: bool) -> list[str]:
    if code is None:
        return ["hung"]
    faults, output = [], output_of(runs).read_text(errors="replace")
    if has_own_traceback(runs):
        _, _, text = output.partition("Traceback")
        faults.append(f"printed a traceback: {text[-3000:]}")
    # torchrun ends with 1 or its own signal; a lone run that had just finished ends with 0.
    if case.num_ranks == 1 and was_running and code not in (128 + case.signum, 0):
        faults.append(f"ended with {code}, expected {128 + case.signum}")
    if case.num_ranks > 1 and was_running and code != 0:
        faults += [f"expected {text!r} in the output" for text in _of_ranks(case.signum) if text not in output]
    return faults


def _of_ranks(signum: signal.Signals) -> list[str]:
    """What two ranks and torchrun must say; its summary is there only where no signal ends torchrun itself."""
    if signum == signal.SIGINT:
        return ["interrupted; run the same command again"]
    said = f"stopped by {signum.name}; "
    return [said, f"exitcode  : {128 + signum}", f"traceback : {said}"] if signum == signal.SIGUSR1 else [said]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=len(ALL), help="cases, of 24 (default all)")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    cases = random.Random(chosen.seed).sample(ALL, min(chosen.count, len(ALL)))
    with tempfile.TemporaryDirectory() as folder:
        counts, failures = attack(Path(folder), cases, seed=chosen.seed)
    return report("signals", len(cases), counts, failures)


if __name__ == "__main__":
    sys.exit(main())
