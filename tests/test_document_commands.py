"""The commands of README.md and docs/data.md run as they are written, on tiny data."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from reskd.__main__ import COMMANDS
from reskd.cli import run_tool
from tests.dali_pipes.annotations.published.published_forms import HEADER
from tests.reskd.commands.test_train import write_config

ROOT = Path(__file__).parents[1]
# Of the README's table: what cannot run in a test, with the reason.
NOT_HERE = {
    "reskd train configs/demo/student.yaml": "minutes: make demo; tests/reskd/commands/test_train.py",
    "torchrun --nproc-per-node 8 -m reskd.train configs/paper/activitynet_resnet152-224_resnet50-112.yaml": "GPUs",
    "reskd analyze flops CONFIG --sizes 224 112": "a large network: tests/reskd/commands/test_analyze.py",
    "reskd study studies/ucf10_teacher.yaml --workers 2": "hours: tests/reskd/commands/test_study.py",
    "reskd analyze receptive-field runs/A runs/B --out DIR": "16 videos: tests/reskd/commands/test_analyze_pictures.py",
    "reskd analyze attention runs/A runs/B --out DIR": "8 videos: tests/reskd/commands/test_analyze_pictures.py",
    "reskd prepare extract-features OUT --run runs/NAME/last.pt": "tests/reskd/commands/test_prepare_data.py",
    "reskd profile decode --root FOLDER": "a minute of timing: tests/reskd/commands/profile/test_decode.py",
    "reskd profile train CONFIG": "minutes of timing: tests/reskd/commands/profile/test_train.py",
    "reskd profile step CONFIG --out DIR": "a training: tests/reskd/commands/profile/test_train.py",
    "reskd gpu-check OUT": "a process for each check: tests/reskd/commands/test_gpu_check.py",
    "reskd make-demo-data data/demo": "3,000 videos: tests/reskd/commands/test_make_demo_data.py",
    "reskd make-feature-data data/features": "gigabytes: tests/reskd/commands/test_make_feature_data.py",
}


def table_commands() -> list[str]:
    """The commands of the README's table of tools, with those that go on from the line above it written out."""
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("| task | command |")[2].partition("\n\n")[0]
    found: list[str] = []
    for code in re.findall(r"`([^`]+)`", table):
        if code.startswith("... "):
            found.append(f"{found[-1]} {code.removeprefix('... ')}")
        elif code.startswith(("reskd ", "torchrun ")):
            found.append(code)
    return found


def fenced_commands(document: str) -> list[str]:
    """The commands of a document's fenced blocks."""
    text = (ROOT / document).read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:sh|bash|shell)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("reskd ")]


def run(command: str) -> None:
    words = shlex.split(command.removeprefix("reskd "))
    name = next(name for name in COMMANDS if words[: len(name.split())] == name.split())
    module = importlib.import_module(f"reskd.commands.{COMMANDS[name].module}")
    assert run_tool(module.main, words[len(name.split()) :]) == 0, command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_folder: Callable[..., Path]) -> Path:
    """A folder with videos, and a trained run NAME of CONFIG."""
    folder = tmp_path_factory.mktemp("commands")
    videos = make_folder({"left": ["libx264"] * 4, "right": ["libx264"] * 4}, num_frames=12)
    shutil.copytree(videos, folder / "videos")
    config = write_config(folder, "NAME", folder / "videos")
    tree = yaml.safe_load(config.read_text()) | {"training": {"epochs": 1, "global_batch_size": 2}}
    (folder / "CONFIG").write_text(yaml.safe_dump(tree | {"runs": "runs"}))
    return folder


def test_every_command_of_the_table_runs_here_or_has_a_reason() -> None:
    commands = table_commands()
    assert len(commands) >= 15
    assert set(NOT_HERE) <= set(commands), set(NOT_HERE) - set(commands)


@pytest.mark.slow
def test_the_commands_of_the_table_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    run("reskd train CONFIG")
    run("reskd evaluate CONFIG runs/NAME/last.pt")
    shutil.copytree("runs/NAME", "runs/A")
    shutil.copytree("runs/NAME", "runs/B")
    meant = {"[CONFIG]": "CONFIG", "VIDEO...": "videos/left/00.mp4", "FILE": "runs/NAME/last.pt", "ROOT": "videos"}
    meant |= {"VIDEOS": "videos"}
    meant |= {"SRC": "videos", "DST": "smaller", "optimizer.lr=0.005 name=slower": "optimizer.lr=0.005 name=slower"}
    for command in table_commands():
        if command in NOT_HERE:
            continue
        for placeholder, value in meant.items():
            command = re.sub(rf"(?<![\w./]){re.escape(placeholder)}(?![\w/])", value, command)
        run(command)


@pytest.mark.slow
def test_the_first_commands_about_data_lead_from_videos_to_a_run(
    tmp_path: Path,
    make_folder: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    clips = make_folder({"left": ["libx264"] * 4, "right": ["libx264"] * 4}, num_frames=12)
    rows: dict[str, list[str]] = {"train": [], "val": []}
    Path("VIDEOS").mkdir()
    for number, clip in enumerate(sorted(clips.glob("*/*.mp4"))):
        name = f"video{number:06d}"  # as long as YouTube's ids
        shutil.copy(clip, Path("VIDEOS") / f"{name}_000001_000011.mp4")
        split = "val" if number % 4 == 3 else "train"
        rows[split].append(f"{clip.parent.name},{name},1,11,{split},0\n")
    for split, lines in rows.items():
        Path(f"{split}.csv").write_text(HEADER + "".join(lines))
    first, *others = fenced_commands("docs/data.md")
    assert len(others) == 2
    run(first)
    printed = yaml.safe_load(capsys.readouterr().out.split("for a config:")[1])
    tree = yaml.safe_load((ROOT / "configs/my/videos.yaml").read_text())
    small = {"sampling": {"num_frames": 2}, "views": {"student": {"size": 40, "source": "decoded"}}, "val_fraction": 0}
    data = {**tree["data"], **printed["data"], **small, "loader": {"num_workers": 1}}
    data.pop("test_fraction")
    tree |= {"data": data, "device": "cpu", "student": {"backbone": "resnet18"}}
    tree["training"] = {"epochs": 1, "global_batch_size": 2}
    Path("my_experiment.yaml").write_text(yaml.safe_dump(tree))
    for command in others:
        run(command)
    assert Path("runs/my_videos/report.md").is_file()
