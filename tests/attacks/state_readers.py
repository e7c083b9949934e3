"""The folders that tests.attacks.state_files damages: a run, its export and scans, and the commands that read them."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml

from dali_pipes.loader.clip_reader import ClipReader
from dali_pipes.loader.decoder_choice import BY_PYAV
from dali_pipes.manifest.build import build_manifests
from dali_pipes.sampling.clip_plan import VideoShape, plan_clip
from dali_pipes.sampling.spec import rules_from_config
from reskd.cli import run_tool
from reskd.commands import evaluate, export, report, train
from reskd.inference.export import load_exported_student
from reskd.reports.run_report import read_metrics
from tests.attacks.runs import differences, write_experiment
from tests.conftest import HEIGHT, WIDTH, numbered_clip
from tests.dali_pipes.storage.stored_clips import make_config, write_tar
from tests.reskd.feature_files import DIM

NUM_FRAMES = 12
WHOLE, HALF, EXPORT, CLIPS, SHARDS, OUT = "whole", "half", "export", "clips", "shards", "out"


class Read(NamedTuple):
    """What came of a command: exit code, all that it printed, and its result by parts."""

    code: int
    said: str
    parts: dict[str, Any]


class Reader(NamedTuple):
    """A command and the state files that it reads, in a folder that ``build`` made."""

    name: str
    files: Callable[[Path], list[Path]]
    read: Callable[[Path], Read]


def build(folder: Path) -> None:
    """Train a run; keep it whole, and with a setting changed, as a kill after its second epoch leaves it; then scan."""
    config = write_experiment(folder, epochs=3)
    tree = yaml.safe_load(config.read_text())
    tree["training"] |= {"keep_every_epochs": 1, "log_every_steps": 1}
    config.write_text(yaml.safe_dump(tree))
    whole = folder / WHOLE / "tiny"
    _must(train.main, config, f"runs={folder / WHOLE}")
    _must(evaluate.main, config, whole / "last.pt")
    _must(export.main, whole / "last.pt", "--out", folder / EXPORT, "--format", "safetensors", "torch_export")
    half = folder / HALF / "tiny"
    shutil.copytree(whole, half)
    (half / "epoch_001.pt").replace(half / "last.pt")
    changed = ("--resume", "last", "--set", "optimizer.lr=0.01")
    _must(train.main, config, f"runs={folder / HALF}", *changed)
    (half / "epoch_002.pt").replace(half / "last.pt")
    (half / "epoch_003.pt").unlink(missing_ok=True)
    (half / "quarantine.csv").write_text("file,reason,position,attempt\na.mp4,gone,2,0\nb.mp4,gone,3,0\n")
    note = {"host": socket.gethostname(), "pid": 1, "started": "before", "job": None, "ticks": -1}
    (half / "run.lock").write_text(json.dumps(note) + "\n")
    for number in range(3):
        numbered_clip(_made(folder / CLIPS) / f"{number}.mp4", "libx264", NUM_FRAMES, tint=40 * number)
    (folder / CLIPS / "list.csv").write_text("path,label\n0.mp4,a\n1.mp4,b\n2.mp4,a\n")
    videos = {f"{number}.mp4": (folder / CLIPS / f"{number}.mp4").read_bytes() for number in range(2)}
    write_tar(folder / SHARDS / "s.tar", {**videos, "0.cls": b"0", "1.cls": b"1"})
    for reader in READERS[-2:]:
        assert reader.read(folder).code == 0


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _must(main: Callable[[Sequence[str]], int | None], *arguments: object) -> None:
    code, said = _call(main, *arguments)
    assert code == 0, said


def _call(main: Callable[[Sequence[str]], int | None], *arguments: object) -> tuple[int, str]:
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = run_tool(main, [str(argument) for argument in arguments])
    return code, said.getvalue()


def _resumed(folder: Path) -> Read:
    code, said = _call(train.main, folder / "tiny.yaml", f"runs={folder / HALF}")
    expected = folder.parent / "expected"
    try:
        found = differences(folder / HALF, expected / HALF) if code == 0 and expected.exists() else []
    except OSError as error:  # a link to nothing is left
        found = [Path(error.filename).name]
    return Read(code, said, {name.removeprefix("left "): name for name in found})


def _evaluated(folder: Path) -> Read:
    parts: dict[str, Any] = {}
    for name in ("last", "best"):
        code, said = _call(evaluate.main, folder / "tiny.yaml", folder / WHOLE / "tiny" / f"{name}.pt", "--out", folder)
        if code:
            return Read(code, said, {})
        found = json.loads((folder / f"evaluation_test_student_{name}.json").read_text())
        parts[name] = {key: value for key, value in found.items() if "second" not in key}
    return Read(0, said, parts)


def _reported(folder: Path) -> Read:
    code, said = _call(report.main, folder / OUT, folder / WHOLE / "tiny")
    if code:
        return Read(code, said, {})
    curves = read_metrics(folder / WHOLE / "tiny" / "metrics.jsonl")
    return Read(0, said, {"report.md": (folder / OUT / "report.md").read_text(), "metrics.jsonl": curves})


def _exported(folder: Path) -> Read:
    parts: dict[str, Any] = {}

    def load(arguments: Sequence[str]) -> None:
        model = load_exported_student(folder / EXPORT / "student.safetensors")
        features_NTD = torch.arange(4 * DIM, dtype=torch.uint8).reshape(1, 4, DIM)
        with torch.no_grad():
            parts["logits"] = model(features_NTD, torch.ones(1, 4, dtype=torch.bool)).logits_NK.tolist()

    return Read(*_call(load), parts)


def _listed(folder: Path, storage: str, pattern: str) -> Read:
    parts: dict[str, Any] = {}

    def load(arguments: Sequence[str]) -> None:
        config = make_config(folder, storage={"kind": storage}, train=pattern)
        manifest = build_manifests(config, seed=0, splits=("train",), on_message=print, num_workers=1)["train"]
        parts["manifest"] = (
            manifest.content_hash,
            [manifest.path(row) for row in range(len(manifest))],
            manifest.class_names,
        )
        rules = rules_from_config(config.sampling, view_size=(HEIGHT, WIDTH), mode="eval")
        reader = ClipReader(BY_PYAV)
        for row in range(len(manifest)):
            shape = VideoShape(NUM_FRAMES, HEIGHT, WIDTH)
            plan = plan_clip(rules, shape, seed=0, position=0, attempt=0, row=row)
            parts[f"clip {row}"] = np.asarray(reader.read(plan, manifest.row(row), by_pyav=False).raw_THWC).tolist()

    return Read(*_call(load), parts)


def _below(*parts: str, of: Callable[[Path], bool] = lambda path: True) -> Callable[[Path], list[Path]]:
    def files(folder: Path) -> list[Path]:
        return sorted(path for path in folder.joinpath(*parts).rglob("*") if path.is_file() and of(path))

    return files


def _is_state(path: Path) -> bool:
    is_event = "tfevents" in path.name
    return not is_event and path.suffix not in (".png", ".md") and "evaluation" not in path.name


def _is_read_by_report(path: Path) -> bool:
    return path.name in ("metrics.jsonl", "evaluation_test_student_last.json")


def _is_checkpoint(path: Path) -> bool:
    return path.name in ("last.pt", "best.pt")


READERS = (
    Reader("resume", _below(HALF, of=_is_state), _resumed),
    Reader("evaluate", _below(WHOLE, of=_is_checkpoint), _evaluated),
    Reader("records", _below(".reskd_scan"), _evaluated),
    Reader("report", _below(WHOLE, of=_is_read_by_report), _reported),
    Reader("export", _below(EXPORT), _exported),
    Reader("scan", _below(CLIPS, ".reskd_scan"), lambda folder: _listed(folder / CLIPS, "videos", "list.csv")),
    Reader("shards", _below(SHARDS, ".reskd_scan"), lambda folder: _listed(folder / SHARDS, "shards", "s.tar")),
)


def restore(good: Path, folder: Path) -> None:
    """Make ``folder`` as ``good`` is, times too."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    for path in good.rglob("*"):  # copies of files have the time, those of folders not always
        status = path.stat()
        os.utime(folder / path.relative_to(good), ns=(status.st_atime_ns, status.st_mtime_ns))
