"""Runs to attack: two seconds of training on feature files, started as a user starts them, with one or two ranks."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from reskd.training.checkpoint import load_checkpoint
from tests.reskd.feature_files import experiment, write_features
from tests.reskd.training.tiny import losses

ROOT = Path(__file__).resolve().parents[2]
_MARK = "RESKD_ATTACK"
_LIMIT_S = 300.0  # generous: a machine may be ten times slower


def write_experiment(folder: Path, *, epochs: int = 12) -> Path:
    """Feature files and the config of a run with a save every 5 steps, in ``folder``; returns the config."""
    write_features(folder)
    tree = experiment(folder, folder / "runs")
    tree["training"] |= {"epochs": epochs, "log_every_steps": 3, "checkpoint_every_steps": 5}
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def launch(config: Path, runs: Path, *, num_ranks: int = 1, prefix: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Start a run in a process group of its own; its output goes to a file, as a pipe could fill up.

    Args:
        prefix: put before the arguments of Python, to start a program that limits itself first.
    """
    command = [sys.executable, *prefix]
    if num_ranks > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command += ["-m", "torch.distributed.run", "--nproc-per-node", str(num_ranks), "--master-port", str(port)]
    command += ["tools/train.py", str(config), f"runs={runs}"]
    runs.parent.mkdir(parents=True, exist_ok=True)
    with output_of(runs).open("a") as output:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", _MARK: str(runs)},
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def run_to_end(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments, on one thread. A process that is left and holds its output hangs here."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def output_of(runs: Path) -> Path:
    return runs.with_suffix(".out")


def wait(process: subprocess.Popen[str]) -> int | None:
    """The exit code; None if it hangs, and then it is killed."""
    try:
        return process.wait(_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def wait_until_gone(runs: Path) -> list[str]:
    """Command lines of processes of the run that do not end by themselves."""
    deadline = time.monotonic() + 60
    while (left := _processes(runs)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def rank_pids(runs: Path) -> list[int]:
    """The ranks that torchrun started."""
    return [
        pid for pid, command in _pids(runs).items() if " tools/train.py " in command and "torch.distr" not in command
    ]


def _processes(runs: Path) -> list[str]:
    return list(_pids(runs).values())


def _pids(runs: Path) -> dict[int, str]:
    """The living processes of a run, ranks and workers too, and their command lines."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{_MARK}={runs}\0" in (entry / "environ").read_text(errors="replace"):
                found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
    return found


def num_logged(runs: Path) -> int:
    path = runs / "tiny" / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def has_own_traceback(runs: Path) -> bool:
    """Whether a rank or a lone run printed a traceback; torchrun's agent prints its own where a rank fails."""
    text = output_of(runs).read_text(errors="replace")
    parts = text.split("Traceback (most recent call last)")[1:]
    return any("torch/distributed/run.py" not in part and "elastic/" not in part for part in parts)


def differences(runs: Path, whole: Path) -> list[str]:
    """What a finished run has that the one never stopped has not: weights, moments, counts, metrics, bad clips."""
    found = []
    one, other = (load_checkpoint(folder / "tiny" / "last.pt") for folder in (runs, whole))
    keys = (one.keys() | other.keys()) - {"config"}  # holds the folder
    found += [key for key in sorted(keys) if not _same(one.get(key), other.get(key))]
    lines = [
        losses([json.loads(line) for line in (folder / "tiny" / "metrics.jsonl").read_text().splitlines()])
        for folder in (runs, whole)
    ]
    found += ["metrics.jsonl"] if lines[0] != lines[1] else []
    lists = [
        [path.read_text(errors="surrogateescape") for path in sorted((folder / "tiny").glob("quarantine*.csv"))]
        for folder in (runs, whole)
    ]
    found += ["quarantine.csv"] if lists[0] != lists[1] else []
    # A run that was stopped has a file of TensorBoard's events more for each start.
    names = [
        {path.name for path in (folder / "tiny").iterdir() if not path.name.startswith("events.out.tfevents.")}
        for folder in (runs, whole)
    ]
    return found + [f"left {name}" for name in sorted(names[0] - names[1])]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, Mapping):
        return isinstance(other, Mapping) and one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def report(name: str, tried: int, counts: Mapping[str, int], failures: Sequence[str]) -> int:
    """Print one line of totals and a line for each failure; returns the exit code."""
    totals = ", ".join(f"{count} {what}" for what, count in counts.items())
    print(f"{name}: {tried} tried, {totals}, {len(failures)} failures")
    print("".join(f"  {failure}\n" for failure in failures), end="", flush=True)
    return 1 if failures else 0
