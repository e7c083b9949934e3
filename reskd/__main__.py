"""The command ``reskd``: ``reskd train CONFIG`` runs reskd/commands/train.py with what follows."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from reskd import __version__
from reskd.cli import run_tool


class Command(NamedTuple):
    """A command: the module with its ``main(arguments)``, and what it does."""

    module: str
    task: str


COMMANDS = {
    "init": Command("init", "look at a folder of videos and write a first config"),
    "train": Command("train", "train an experiment: a teacher, a student or both"),
    "evaluate": Command("evaluate", "score a checkpoint on the test list"),
    "predict": Command("predict", "classify video files with a trained student"),
    "export": Command("export", "write a student as ONNX, torch.export or safetensors"),
    "prepare": Command("prepare_data", "scan, describe, transcode or list videos; extract features"),
    "report": Command("report", "compare runs: table and curves"),
    "study": Command("study", "run arms over seeds and splits, and compare them"),
    "analyze": Command("analyze", "count operations, time models, draw what networks look at"),
    "profile decode": Command("profile.decode", "measure the cost of reading a clip"),
    "profile train": Command("profile.train", "measure a training: bare networks, loop, real files"),
    "profile step": Command("profile.step", "trace training steps: phases and kernels"),
    "doctor": Command("doctor", "check this machine and a config"),
    "gpu-check": Command("gpu_check", "test what a GPU decodes and trains"),
    "import-weights": Command("import_weights", "show where the weights of a checkpoint go"),
    "make-demo-data": Command("make_demo_data", "write the demo's videos"),
    "make-feature-data": Command("make_feature_data", "write made-up frame features"),
}


def main() -> int:
    """Run the command that the command line names; returns its exit code, 2 if it names none."""
    given = sys.argv[1:]
    if not given or given[0] in ("-h", "--help"):
        print(usage())
        return 0 if given else 2
    if given[0] == "--version":
        print(f"reskd {__version__}")
        return 0
    name = next((name for name in COMMANDS if given[: len(name.split())] == name.split()), None)
    if name is None:
        return _unknown(given)
    del sys.argv[1 : 1 + len(name.split())]
    return run_command(name)


def run_command(name: str) -> int:
    """Run the command of this name with the arguments of the command line; returns its exit code."""
    module = importlib.import_module(f"reskd.commands.{COMMANDS[name].module}")
    return run_tool(module.main, program=("reskd", *name.split()))


def usage(prefix: str = "") -> str:
    """All commands, or those that start with ``prefix``, a line each."""
    shown = {name: command for name, command in COMMANDS.items() if name.startswith(prefix)}
    lines = [f"  {name:<18} {command.task}" for name, command in shown.items()]
    head = [f"usage: reskd {prefix or 'COMMAND '}...", "", "Train video classifiers on fewer pixels and frames.", ""]
    return "\n".join([*head, *lines, "", "reskd COMMAND --help explains a command. reskd --version"])


def _unknown(given: Sequence[str]) -> int:
    groups = {name.partition(" ")[0] for name in COMMANDS if " " in name}
    if given[0] in groups and len(given) > 1 and given[1] in ("-h", "--help"):
        print(usage(f"{given[0]} "))
        return 0
    in_group = given[0] in groups
    typed = " ".join(given[: 1 + in_group])
    near = difflib.get_close_matches(typed, COMMANDS, n=1) if typed not in groups else []
    hint = f"; did you mean reskd {near[0]}?" if near else ""
    print(usage(f"{given[0]} " if in_group else ""), file=sys.stderr)
    print(f"reskd: error: expected a command, found {typed!r}{hint}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
