from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reskd.training.run_changes import Change, changed, read_changes, set_value, why_fixed, write_changes

TREE = {"optimizer": {"lr": 0.1}, "training": {"clip_norm": None}}
CHANGES = [Change(10, "optimizer.lr", 0.1, 0.01), Change(20, "optimizer.lr", 0.01, 0.001)]


def test_a_record_comes_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "changes.jsonl"
    write_changes(path, [])
    assert not path.exists() and read_changes(path) == []
    write_changes(path, CHANGES)
    assert read_changes(path) == CHANGES


@pytest.mark.parametrize("text", ["{", "[]\n", '{"step": 1, "key": "a"}\n', '"x"\n'])
def test_a_damaged_record_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "changes.jsonl").write_text(text)
    with pytest.raises(ValueError, match=r"changes\.jsonl: expected a JSON object with step, key, old and new"):
        read_changes(tmp_path / "changes.jsonl")


def test_a_record_that_leads_to_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "changes.jsonl").symlink_to("nowhere")
    with pytest.raises(ValueError, match=r"changes\.jsonl: expected the settings that --set changed, found a link to"):
        read_changes(tmp_path / "changes.jsonl")


@pytest.mark.parametrize(("lr", "found"), [(0.1, 0.001), (0.01, 0.001), (0.001, 0.001), (0.5, 0.5)])
def test_every_value_of_before_stands_for_the_last_one(lr: float, found: float) -> None:
    tree = {"optimizer": {"lr": lr}, "training": {"clip_norm": None}}
    assert changed(tree, CHANGES)["optimizer"]["lr"] == found
    assert tree["optimizer"]["lr"] == lr  # not changed in place


def test_a_change_and_its_undoing_leave_the_first_value() -> None:
    undone = [CHANGES[0], Change(12, "optimizer.lr", 0.01, 0.1)]
    assert changed(TREE, undone) == changed({**TREE, "optimizer": {"lr": 0.01}}, undone) == TREE


def test_a_key_that_is_not_there_changes_nothing() -> None:
    assert changed(TREE, [Change(1, "loss.pixel.alpha", 1, 2)]) == TREE
    tree: dict[str, Any] = {"a": {"b": 1}}
    set_value(tree, "a.b", 2)
    assert tree == {"a": {"b": 2}}


@pytest.mark.parametrize(
    "key",
    ["optimizer.lr", "optimizer.weight_decay", "schedule.kind", "training.clip_norm", "training.precision", "device"],
)
def test_settings_of_the_optimization_may_change(key: str) -> None:
    assert why_fixed(key, 1, 2) is None


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("seed", "order of the clips"),
        ("data.train", "which clips the run sees"),
        ("data.sampling.num_frames", "which clips"),
        ("student.backbone", "the networks"),
        ("teacher.update", "the networks"),
        ("training.global_batch_size", "which clips a step sees"),
        ("training.selection_metric", "best.pt"),
        ("optimizer.name", "the optimizer's state"),
        ("optimizer.backbone_lr_factor", "the optimizer's state"),
        ("optimizer.lr_factor", "the optimizer's state"),
        ("loss.task", "the loss would"),
        ("loss.pixel.projection", "the loss would"),
        ("name", "part of what the run is"),
    ],
)
def test_what_decides_on_clips_and_networks_stays(key: str, why: str) -> None:
    assert why in str(why_fixed(key, 1, 2))


def test_momentum_cannot_begin_or_end() -> None:
    assert why_fixed("optimizer.momentum", 0.9, 0.5) is None
    assert why_fixed("optimizer.momentum", 0.0, 0.9) is not None


def test_a_weight_given_by_hand_may_change_and_a_measured_one_may_not() -> None:
    assert why_fixed("loss.pixel.alpha", 1.0, 2.0) is None
    for old, new in ((1.0, "auto"), ("auto", 1.0)):
        assert why_fixed("loss.pixel.alpha", old, new) == "auto measures the weight in the first steps of a run"
