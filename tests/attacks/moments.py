"""Signal each tool at exact moments, with Ctrl-C and SIGTERM; then run the same command to its end.

    python -m tests.attacks.moments

A command that is signaled must say so in one line and end with 130 or 143, and SIGTERM ends all tools but train at
once; all without a traceback and without a process left. The same command must then write what it writes when it was
never stopped.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.attacks.full_disk import facts_in
from tests.attacks.runs import differences, report, run_to_end, write_experiment
from tests.conftest import numbered_clip

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Moment(NamedTuple):
    """A moment in a command.

    Args:
        tool: of those in ``_commands``.
        target: the function, as module:name, at whose n-th call the signal arrives.
        call: n.
    """

    tool: str
    target: str
    call: int = 1


MOMENTS = {
    "scan": Moment("scan", "dali_pipes.scan.store:VideoInfoWriter.add", 3),
    "transcode": Moment("transcode", "dali_pipes.transcode.journal:Journal.add", 3),
    "dry run": Moment("train", "reskd.training.trainer:Trainer._dry_run"),
    "validation": Moment("train", "reskd.evaluation.evaluator:evaluate", 2),
    "last save": Moment("train", "reskd.training.run_directory:RunDirectory.kept", 3),
    "report of a run": Moment("train", "reskd.reports.run_report:draw_curves"),
    "evaluation": Moment("evaluate", "reskd.evaluation.evaluator:evaluate"),
    "comparison": Moment("report", "reskd.reports.run_report:render_comparison"),
}


# Commands that must have ended well before one is tried.
_BEFORE = {"evaluate": ("train",), "report": ("train", "evaluate")}


def attack(folder: Path, names: Sequence[str], signals: Sequence[signal.Signals]) -> tuple[Counter[str], list[str]]:
    """Returns (number of outcomes by name, a line for each failure)."""
    counts, failures = Counter[str](), list[str]()
    sources = folder / "sources"
    sources.mkdir(parents=True)
    for number in range(5):
        numbered_clip(sources / f"{number}.mp4", "libx264", 12 + number)
    config = write_experiment(folder, epochs=3)
    wholes: dict[str, Path] = {}
    for name, signum in ((name, signum) for name in names for signum in signals):
        moment, out = MOMENTS[name], folder / f"{name}_{signum.name}".replace(" ", "_")
        if moment.tool not in wholes:
            wholes[moment.tool] = folder / f"whole_{moment.tool}"
            _prepare(moment.tool, wholes[moment.tool], sources, config)
            _check(run_to_end(_command(moment.tool, wholes[moment.tool], sources, config)))
        _prepare(moment.tool, out, sources, config)
        command = _command(moment.tool, out, sources, config)
        prefix = ["-m", "tests.attacks.self_signaled", signum.name, str(moment.call), moment.target]
        done = run_to_end([*prefix, *command])
        counts["tried"] += 1
        is_stopped = _is_stopped(moment.tool, signum, done)
        counts["stopped"] += is_stopped
        failures += [] if is_stopped else [f"{name}, {signum.name}: {done.returncode} {done.stderr[-600:]}"]
        again = run_to_end(command)
        found = _differences(moment.tool, out, wholes[moment.tool]) if again.returncode == 0 else [again.stderr[-600:]]
        counts["equal to the bit"] += not found
        failures += [f"{name}, {signum.name}: differs in {', '.join(found)}"] if found else []
    return counts, failures


def _is_stopped(tool: str, signum: signal.Signals, done: subprocess.CompletedProcess[str]) -> bool:
    """Whether the command said in one line that it was stopped; SIGTERM ends all tools but train without a word."""
    if "Traceback" in done.stderr:
        return False
    if signum == signal.SIGTERM and tool != "train":
        return done.returncode == -signum
    said = [line for line in done.stderr.splitlines() if line.startswith(("interrupted;", f"stopped by {signum.name}"))]
    return done.returncode == 128 + signum and len(said) == 1


def _command(tool: str, out: Path, sources: Path, config: Path) -> list[str]:
    run = out / "tiny"
    commands = {
        "scan": ["tools/prepare_data.py", "scan", sources, "--scan-cache", out, "--workers", "1"],
        "transcode": ["tools/prepare_data.py", "transcode", sources, out, "--short-side", "48", "--workers", "1"],
        "train": ["tools/train.py", config, f"runs={out}"],
        "evaluate": ["tools/evaluate.py", config, run / "last.pt", f"runs={out}"],
        "report": ["tools/report.py", out / "compared", run],
    }
    return [str(part) for part in commands[tool]]


def _prepare(tool: str, out: Path, sources: Path, config: Path) -> None:
    for before in _BEFORE.get(tool, ()):
        _check(run_to_end(_command(before, out, sources, config)))


def _check(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode:
        raise RuntimeError(f"{' '.join(done.args)} ended with {done.returncode}: {done.stderr[-2000:]}")


def _differences(tool: str, out: Path, whole: Path) -> list[str]:
    """What a command wrote that it does not write when it is never stopped."""
    if tool == "scan":
        return [] if facts_in(out) == facts_in(whole) else ["the facts of videos"]
    if tool == "train":
        return differences(out, whole)
    names = {"transcode": "*.mp4", "evaluate": "tiny/evaluation*.json", "report": "compared/*.md"}[tool]
    contents = [{path.relative_to(base): _content(path, base) for path in base.rglob(names)} for base in (out, whole)]
    return [] if contents[0] and contents[0] == contents[1] else [names]


def _content(path: Path, base: Path) -> Any:
    """The bytes; of JSON the metrics, as speeds differ; of a report its text without speeds and folder."""
    if path.suffix == ".json":
        return json.loads(path.read_text())["metrics"]
    if path.suffix == ".md":
        return re.sub(r"[0-9]+ (?=\| [0-9]+ of )", "", path.read_text().replace(str(base), ""))  # clips/s
    return path.read_bytes()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", nargs="+", choices=MOMENTS, default=list(MOMENTS), help="default: all")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts, failures = attack(Path(folder), chosen.moments, SIGNALS)
    return report("signals at moments", counts.pop("tried", 0), counts, failures)


if __name__ == "__main__":
    sys.exit(main())
