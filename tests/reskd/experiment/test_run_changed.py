"""A run that goes on under changed settings, whose folder is damaged, or that another process holds."""

from __future__ import annotations

import json
import re
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from reskd.cli import run_tool
from reskd.commands import train
from reskd.experiment.config import load_config
from reskd.experiment.run import train_experiment
from reskd.experiment.stages import load_stages
from reskd.training.checkpoint import load_checkpoint, save_checkpoint
from reskd.training.run_lock import LOCK_NAME, RunLock
from tests.reskd.experiment.test_stages import FINE_TUNED, STUDENT, TEACHER, WORLD, write_stages
from tests.reskd.feature_files import experiment, write_features
from tests.reskd.training.tiny import losses


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_features(tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(experiment(tmp_path, tmp_path / "runs")))
    return tmp_path


def start(folder: Path, *arguments: str) -> int:
    return run_tool(train.main, [str(folder / "tiny.yaml"), *arguments])


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_run_that_diverges_goes_on_as_its_message_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = folder / "runs" / "tiny"
    assert start(folder, "optimizer.lr=1e12") == 1
    fault = capsys.readouterr().err
    assert "Nothing was saved yet: run the same command with --set optimizer.lr=" in fault and "Traceback" not in fault
    assert not (run / "last.pt").exists() and not (run / LOCK_NAME).exists()

    assert start(folder, "optimizer.lr=1e12", "--set", "optimizer.lr=0.02", "--set", "training.clip_norm=5") == 0
    state = load_checkpoint(run / "last.pt")
    assert state["config"]["optimizer"]["lr"] == 0.02
    change = {"step": 0, "key": "optimizer.lr", "old": 1e12, "new": 0.02}
    assert state["changes"][0] == change == json.loads((run / "changes.jsonl").read_text().splitlines()[0])
    assert yaml.safe_load((run / "config.yaml").read_text())["training"]["clip_norm"] == 5
    assert "| 0 | optimizer.lr | 1000000000000.0 | 0.02 |" in (run / "report.md").read_text()
    capsys.readouterr()
    assert start(folder, "optimizer.lr=1e12") == 0  # the command of before
    assert start(folder, "optimizer.lr=0.02", "training.clip_norm=5") == 0
    assert start(folder, "optimizer.lr=0.3") == 1
    fault = capsys.readouterr().err
    assert "optimizer.lr: 0.02 there, 0.3 now" in fault
    assert "--resume last --set optimizer.lr=0.3" in fault


def test_changed_settings_hold_in_the_optimizer_too(folder: Path) -> None:
    run = folder / "runs" / "tiny"
    assert start(folder) == 0
    last = load_checkpoint(run / "last.pt")["num_steps"]
    changes = ["--set", "optimizer.weight_decay=0.5", "--set", "training.epochs=4", "--set", "optimizer.lr=0.01"]
    assert start(folder, "--resume", "last", *changes) == 0
    state = load_checkpoint(run / "last.pt")
    assert state["num_steps"] == 2 * last == state["total_steps"]
    assert [group["weight_decay"] for group in state["optimizer"]["param_groups"] if group["name"] == "weights"] == [
        0.5
    ]
    assert {line["step"] for line in state["changes"]} == {last}
    assert max(line["train/lr"] for line in lines(run) if line["step"] > last) <= 0.01


def test_a_value_of_the_file_is_a_change_where_the_run_was_started_with_another(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = folder / "runs" / "tiny"
    epochs = yaml.safe_load((folder / "tiny.yaml").read_text())["training"]["epochs"]
    assert start(folder, "training.epochs=1", "seed=7") == 0
    first = load_checkpoint(run / "last.pt")["num_steps"]
    assert start(folder, "seed=7", "--set", f"training.epochs={epochs}") == 0
    state = load_checkpoint(run / "last.pt")
    assert state["num_steps"] == epochs * first
    assert state["changes"] == [{"step": first, "key": "training.epochs", "old": 1.0, "new": float(epochs)}]
    for again in ([], ["training.epochs=1"], ["--set", f"training.epochs={epochs}"]):
        assert start(folder, "seed=7", *again) == 0
    assert load_checkpoint(run / "last.pt")["changes"] == state["changes"]
    capsys.readouterr()
    assert start(folder, "--set", "seed=1") == 1
    assert "--set seed: expected a setting that a started run can change" in capsys.readouterr().err


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_the_precision_may_change_both_ways(precision: str, folder: Path) -> None:
    assert start(folder, "training.epochs=1") == 0
    assert start(folder, "training.epochs=1", f"--set=training.precision={precision}", "--set=training.epochs=2") == 0
    assert start(folder, "training.epochs=1", "--set=training.precision=fp32", "--set=training.epochs=3") == 0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("seed=2", "--set seed: .* the order of the clips"),
        ("data.val_fraction=0.5", "--set data.val_fraction: .* which clips the run sees"),
        ("training.global_batch_size=3", "--set training.global_batch_size: .* which clips a step sees"),
        ("student.aggregator.hidden_dim=5", "--set student.aggregator.hidden_dim: .* describes the networks"),
        ("optimizer={name: sgd, lr: 0.1}", "--set optimizer.name: .* optimizer's state"),
        ("optimizer.lr=-1", "optimizer.lr: .* greater than 0"),
        ("optimizer.lrr=1", "unknown key optimizer.lrr; did you mean lr"),
        ("name=other", "--set name: .* part of what the run is"),
        ("optimizer.lr", "expected a setting of the form key.sub=value"),
    ],
)
def test_what_cannot_change_is_refused_with_the_reason(
    setting: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(folder, "--set", setting) == 1
    fault = capsys.readouterr().err
    assert len([line for line in fault.splitlines() if line.startswith("error: ")]) == 1 and "Traceback" not in fault
    assert re.search(message, fault), fault
    assert not (folder / "runs").exists()


def test_free_settings_are_set_and_not_recorded(folder: Path) -> None:
    assert start(folder, "--set", "training.log_every_steps=2") == 0
    assert not (folder / "runs" / "tiny" / "changes.jsonl").exists()
    assert lines(folder / "runs" / "tiny")[0]["step"] == 2


def test_set_needs_a_run_that_is_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(folder, "--overwrite", "--set", "optimizer.lr=1") == 1
    assert "give the setting without --set" in capsys.readouterr().err
    assert start(folder, "--resume", "last") == 1
    assert "--resume last: expected" in capsys.readouterr().err


def test_set_changes_the_stages_that_are_not_done(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write_stages(folder, TEACHER, STUDENT, FINE_TUNED))
    assert run_tool(train.main, [path, "stages.student.optimizer.lr=1e12"]) == 1
    assert "Nothing was saved yet" in capsys.readouterr().err
    command = [path, "stages.student.optimizer.lr=1e12"]
    assert run_tool(train.main, [*command, "--resume", "last", "--set", "stages.student.optimizer.lr=0.01"]) == 0
    assert run_tool(train.main, command) == 0
    changed = sorted(file.parent.name for file in (folder / "runs").glob("*/changes.jsonl"))
    assert changed == ["tiny.student"]
    assert run_tool(train.main, [*command, "--set", "training.clip_norm=3"]) == 0
    assert "tiny.teacher is done; --set does not change it" in capsys.readouterr().err


def test_a_folder_without_its_config_goes_on_from_the_checkpoints(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = folder / "runs" / "tiny"
    assert start(folder, "training.epochs=1") == 0
    (run / "config.yaml").unlink()
    assert start(folder, "training.epochs=1", "seed=5") == 1
    assert "holds another experiment (1 settings differ: seed" in capsys.readouterr().err
    assert start(folder, "training.epochs=1") == 0
    assert "config.yaml is missing; the settings in last.pt take its place" in capsys.readouterr().err
    assert (run / "config.yaml").exists()
    (run / "config.yaml").unlink()
    (run / "last.pt").unlink()
    assert start(folder) == 1
    assert "not a run's folder: it holds best.pt, but no config.yaml; delete it, or choose" in capsys.readouterr().err


def test_a_folder_deleted_in_mid_run_is_written_anew_and_can_be_resumed(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = load_config(folder / "tiny.yaml", ["training.epochs=2"])
    whole = load_config(folder / "tiny.yaml", ["training.epochs=2", "name=whole"])
    train_experiment(whole, world=WORLD, report=False)

    def delete(name: str, step: int, total: int, values: Mapping[str, float]) -> None:
        if step == 1:
            # At once: TensorBoard's thread may write a file while a folder is emptied.
            shutil.rmtree(config.folder.rename(config.folder.with_name("deleted")), ignore_errors=True)

    train_experiment(config, world=WORLD, report=False, on_log=delete)
    assert any("was deleted while the run goes on; it is written anew" in message for message in caplog.messages)
    assert not (config.folder / LOCK_NAME).exists()
    states = [load_checkpoint(one.folder / "last.pt") for one in (config, whole)]
    assert all((states[0]["student"][name] == value).all() for name, value in states[1]["student"].items())
    assert losses(lines(config.folder)) == losses(lines(whole.folder))[1:]
    train_experiment(config, world=WORLD)  # it can be started


@pytest.mark.parametrize("arguments", [[], ["--overwrite"], ["--resume", "none"]])
def test_a_folder_in_use_is_refused_and_left_alone(
    arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = folder / "runs" / "tiny"
    lock = RunLock(run)
    lock.take()
    assert start(folder, *arguments) == 1
    assert f"error: {run}: expected no other run in this folder, found process" in capsys.readouterr().err
    assert [path.name for path in run.iterdir()] == [LOCK_NAME]
    lock.release()
    assert start(folder, *arguments) == 0
    assert not (run / LOCK_NAME).exists()


def test_overwriting_keeps_the_lock_until_the_end(folder: Path) -> None:
    assert start(folder) == 0
    config = load_config(folder / "tiny.yaml")
    seen: list[bool] = []

    def look(name: str, step: int, total: int, values: Any) -> None:
        seen.append((config.folder / LOCK_NAME).exists())

    train_experiment(config, world=WORLD, report=False, overwrite=True, on_log=look)
    assert seen and all(seen)


def test_what_a_killed_save_left_is_removed_by_the_next_start(folder: Path) -> None:
    assert start(folder, "training.epochs=1") == 0
    run = folder / "runs" / "tiny"
    left = [f".last.pt.{socket.gethostname()}-{2**22 + 1}-abcdef.tmp", ".best.pt.node7-4021-9f3a1c.tmp"]
    for name in left:
        (run / name).write_bytes(b"half")
    assert start(folder, "training.epochs=1") == 0
    assert not any((run / name).exists() for name in left)


def test_a_damaged_checkpoint_is_refused_wherever_it_is_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = folder / "runs" / "tiny"
    assert start(folder, "training.epochs=1") == 0
    content = bytearray((run / "last.pt").read_bytes())
    content[len(content) // 2] ^= 4
    (run / "last.pt").write_bytes(content)
    assert start(folder, "training.epochs=1") == 1
    fault = capsys.readouterr().err
    assert "last.pt: expected the checkpoint as it was written, found one that " in fault and "Traceback" not in fault
    state = load_checkpoint(run / "best.pt")
    save_checkpoint(run / "last.pt", state)
    assert start(folder, "training.epochs=1") == 0


@pytest.mark.parametrize("setting", ["training.epochs=0.5", "training.early_stopping.patience=1"])
def test_a_stage_that_a_changed_setting_ends_at_once_is_done_and_the_next_one_begins(
    setting: str, tmp_path: Path
) -> None:
    write_features(tmp_path)
    long = {"epochs": 40, "global_batch_size": 6, "early_stopping": {"patience": 30}}
    path = write_stages(tmp_path, {**TEACHER, "training": long, "optimizer": {"lr": 1e-9}}, STUDENT)

    def stop(_: str, step: int, total: int, values: Mapping[str, float]) -> None:
        if values["train/epoch"] > 4:
            raise KeyboardInterrupt

    teacher = load_stages(path)[0]
    with pytest.raises(KeyboardInterrupt):
        train_experiment(teacher, world=WORLD, report=False, on_log=stop)
    before = load_checkpoint(teacher.folder / "last.pt")["num_steps"]
    for _ in range(2):
        assert run_tool(train.main, [str(path), "--set", f"stages.teacher.{setting}"]) == 0
    assert load_checkpoint(teacher.folder / "last.pt")["num_steps"] == before
    assert (tmp_path / "runs" / "tiny.student" / "last.pt").exists()
