"""Every command answers --help and a usage error at once: before it has imported anything heavy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reskd.__main__ import COMMANDS

ROOT = Path(__file__).parents[3]
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


def _modules(folder: str) -> list[str]:
    """The modules of this folder that can be run."""
    paths = (ROOT / folder).rglob("*.py")
    runnable = [path for path in paths if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")]
    return sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in runnable)


CALLED = [*(f"reskd {name}" for name in COMMANDS), *_modules("benchmarks")]
# What comes before the options of a command that has commands of its own.
SUBCOMMANDS = {
    "reskd analyze": (["flops"], ["throughput"]),
    "reskd prepare": (["scan"], ["import"], ["transcode"], ["describe"], ["extract-features"]),
}
CALLS = [(command, subcommand) for command in CALLED for subcommand in ([], *SUBCOMMANDS.get(command, ()))]


def _run(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *command.split(), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["trian"], "found 'trian'; did you mean reskd train?"),
        (["profile"], "found 'profile'"),
        (["profile", "stp"], "found 'profile stp'; did you mean reskd profile step?"),
        (["-x"], "found '-x'"),
    ],
)
def test_an_unknown_command_is_a_usage_error(typed: list[str], said: str) -> None:
    _assert_usage_error(done := _run("reskd", *typed))
    assert done.stderr.splitlines()[-1] == f"reskd: error: expected a command, {said}"


def test_the_command_without_a_word_lists_the_commands() -> None:
    assert [done.returncode for done in (_run("reskd"), _run("reskd", "--help"), _run("reskd", "--version"))] == [
        2,
        0,
        0,
    ]
    assert all(f"  {name} " in _run("reskd").stdout for name in COMMANDS)
    assert _run("reskd", "profile", "--help").stdout.count("profile ") == 4


def _assert_usage_error(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == "HEAVY\n"
    assert done.stderr.startswith("usage: ")
    *_, last = done.stderr.splitlines()
    assert ": error: " in last
    assert done.stderr.count("error: ") == 1


def test_all_commands_and_benchmarks_are_found() -> None:
    assert len(CALLED) >= 20
    assert set(SUBCOMMANDS) < set(CALLED)


@pytest.mark.parametrize("tool", _modules("tools"))
def test_a_tool_of_the_checkout_is_the_command(tool: str) -> None:
    done = subprocess.run(
        [sys.executable, f"{tool.replace('.', '/')}.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert any(done.stdout.startswith(f"usage: reskd {name} [") for name in COMMANDS), done.stdout


def test_a_command_is_a_file_and_a_file_a_command() -> None:
    files = {f"reskd/commands/{command.module.replace('.', '/')}.py" for command in COMMANDS.values()}
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "reskd/commands").rglob("[!_]*.py")}
    assert files == there


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
        ["reskd analyze", "flops", "--model", "backbone=resnet18", "--frames", "0"],
        ["reskd analyze", "throughput", "--model", "backbone=resnet18", "--precision", "fp8"],
        ["reskd evaluate", "a.yaml", "last.pt", "--split", "training"],
        ["reskd export", "last.pt", "--out", "out", "--format", "tflite"],
        ["reskd gpu-check", "--part", "no_such_part"],
        ["reskd import-weights"],
        ["reskd make-demo-data"],
        ["reskd make-demo-data", "out", "--format", "av1"],
        ["reskd make-feature-data", "out", "--train", "many"],
        ["reskd predict", "last.pt", "a.mp4", "--top", "0"],
        ["reskd prepare", "import", "no_such_data", "--annotations", "a", "--videos", "v", "--out", "o"],
        ["reskd prepare", "scan", "videos", "--shard", "3/2"],
        ["reskd prepare", "transcode", "a", "b", "--codec", "vp9"],
        ["reskd profile decode", "--device", "tpu"],
        ["reskd report"],
        ["reskd train"],
        ["benchmarks.decode.bench_few_frames", "videos", "--selection", "best"],
        ["benchmarks.features.bench_features", "--rounds", "0"],
        ["benchmarks.features.oracle", "--k", "0"],
        ["benchmarks.inference.bench_inference", "--families", "lstm"],
        ["benchmarks.ops.bench_loss", "--dtypes", "fp8"],
    ],
    ids=" ".join,
)
def test_a_bad_choice_or_number_is_a_usage_error(arguments: list[str]) -> None:
    _assert_usage_error(_run(*arguments))


# What a user mistypes, and the sentence that answers it before torch or DALI is imported.
MISTAKES = {
    "no config": (["wrong.yaml"], "expected a config file at wrong.yaml, found none."),
    "no YAML": (["broken.yaml"], "broken.yaml, line 2: "),
    "a key": (["good.yaml", "training.epoch=3"], "good.yaml: unknown key training.epoch; did you mean epochs?"),
    "a value": (["good.yaml", "training.epochs=many"], "good.yaml: training.epochs: "),
    "no root": (["good.yaml", "data.root=nowhere"], "data.root: expected a folder, found nothing at nowhere."),
    "a root that is a file": (["good.yaml", "data.root=good.yaml"], "data.root: expected a folder, found a file at "),
    "no list": (["good.yaml", "data.train=list.csv"], "data.train: expected a list at list.csv, found no file; "),
    "in a stage": (["stages.yaml", "stages.a.data.root=x"], "stage a: data.root: expected a folder, found nothing at "),
}
GOOD = """name: one
data:
  root: .
  train: folders
  sampling: {num_frames: 2}
  views: {student: {size: 32, source: decoded}}
student: {backbone: resnet18}
optimizer: {lr: 0.01}
training: {epochs: 1, global_batch_size: 2}
"""


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("configs")
    (folder / "good.yaml").write_text(GOOD)
    (folder / "stages.yaml").write_text(f"{GOOD}stages: [{{name: a}}, {{name: b}}]\n")
    (folder / "broken.yaml").write_text("name: one\n  data: [\n")
    return folder


def _answered_before_heavy_imports(folder: Path, command: str, *arguments: str) -> str:
    """The error of a command; only pydantic and numpy, which take a tenth of a second, may have been imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command.split(), *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert {*done.stdout.split()} <= {"HEAVY", "pydantic", "numpy"}
    assert done.stderr.count("error: ") == 1 and done.stderr.startswith("error: ")
    return done.stderr.removeprefix("error: ")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_config_is_named_before_heavy_imports(mistake: str, configs: Path) -> None:
    arguments, sentence = MISTAKES[mistake]
    assert _answered_before_heavy_imports(configs, "reskd train", *arguments).startswith(sentence)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("evaluate", ["wrong.yaml", "last.pt"]),
        ("doctor", ["wrong.yaml"]),
        ("profile train", ["wrong.yaml"]),
        ("profile step", ["wrong.yaml", "--out", "out"]),
        ("study", ["wrong.yaml"]),
        ("evaluate", ["good.yaml", "last.pt"]),
        ("predict", ["last.pt", "a.mp4"]),
        ("export", ["last.pt", "--out", "out"]),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_file_that_is_not_there_is_named_before_heavy_imports(
    command: str, arguments: list[str], configs: Path
) -> None:
    assert ", found no" in _answered_before_heavy_imports(configs, f"reskd {command}", *arguments)


def test_training_begins_without_what_only_its_end_needs() -> None:
    program = (
        "import sys, reskd.experiment.stages; print(*[n for n in ('matplotlib', 'torchmetrics') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr
