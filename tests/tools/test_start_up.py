"""Every command answers --help and a usage error at once: before it has imported anything heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "torchvision", "torchmetrics", "numpy", "av", "cv2", "pydantic", "nvidia", "matplotlib")
# Runs a module as a program, and says on exit which heavy packages it has imported.
PROGRAM = f"""
import runpy, sys
module, sys.argv[1:] = sys.argv[1], sys.argv[2:]
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
finally:
    print("HEAVY", *[name for name in {HEAVY!r} if name in sys.modules])
"""


def _commands() -> list[str]:
    """Modules that can be run: all tools, and what runs in benchmarks."""
    paths = [*(ROOT / "tools").glob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    runnable = [path for path in paths if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")]
    return sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in runnable)


COMMANDS = _commands()
# What comes before the options of a command that has commands of its own.
SUBCOMMANDS = {
    "tools.analyze": (["flops"], ["throughput"]),
    "tools.prepare_data": (["scan"], ["import"], ["transcode"], ["describe"], ["extract-features"]),
    "benchmarks.fewer_frames.run": (["run"], ["time"], ["pixels"], ["report"], ["oracle"]),
}
CALLS = [(command, subcommand) for command in COMMANDS for subcommand in ([], *SUBCOMMANDS.get(command, ()))]


def _run(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def _assert_usage_error(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == "HEAVY\n"
    assert done.stderr.startswith("usage: ")
    *_, last = done.stderr.splitlines()
    assert ": error: " in last
    assert done.stderr.count("error: ") == 1


def test_all_tools_and_benchmarks_are_found() -> None:
    assert len(COMMANDS) >= 18
    assert set(SUBCOMMANDS) < set(COMMANDS)


@pytest.mark.parametrize(
    ("command", "subcommand"), CALLS, ids=lambda value: value if isinstance(value, str) else "-".join(value)
)
def test_help_is_quick_to_come(command: str, subcommand: list[str]) -> None:
    done = _run(command, *subcommand, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")
    assert done.stdout.endswith("HEAVY\n")


@pytest.mark.parametrize(
    ("command", "subcommand"), CALLS, ids=lambda value: value if isinstance(value, str) else "-".join(value)
)
def test_an_unknown_option_is_a_usage_error(command: str, subcommand: list[str]) -> None:
    _assert_usage_error(_run(command, *subcommand, "--no-such-option"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["tools.analyze", "flops", "--model", "backbone=resnet18", "--frames", "0"],
        ["tools.analyze", "throughput", "--model", "backbone=resnet18", "--precision", "fp8"],
        ["tools.evaluate", "a.yaml", "last.pt", "--split", "training"],
        ["tools.export", "last.pt", "--out", "out", "--format", "tflite"],
        ["tools.gpu_check", "--part", "no_such_part"],
        ["tools.import_weights"],
        ["tools.make_demo_data"],
        ["tools.make_demo_data", "out", "--format", "av1"],
        ["tools.make_feature_data", "out", "--train", "many"],
        ["tools.predict", "last.pt", "a.mp4", "--top", "0"],
        ["tools.prepare_data", "import", "no_such_data", "--annotations", "a", "--videos", "v", "--out", "o"],
        ["tools.prepare_data", "scan", "videos", "--shard", "3/2"],
        ["tools.prepare_data", "transcode", "a", "b", "--codec", "vp9"],
        ["tools.profile_decode", "--device", "tpu"],
        ["tools.report"],
        ["tools.train"],
        ["benchmarks.decode.bench_few_frames", "videos", "--selection", "best"],
        ["benchmarks.features.bench_features", "--rounds", "0"],
        ["benchmarks.fewer_frames.run", "run", "--families", "lstm"],
        ["benchmarks.inference.bench_inference", "--families", "lstm"],
        ["benchmarks.ops.bench_loss", "--dtypes", "fp8"],
    ],
    ids=" ".join,
)
def test_a_bad_choice_or_number_is_a_usage_error(arguments: list[str]) -> None:
    _assert_usage_error(_run(*arguments))


def test_training_begins_without_what_only_its_end_needs() -> None:
    program = (
        "import sys, reskd.experiment.stages; print(*[n for n in ('matplotlib', 'torchmetrics') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr
