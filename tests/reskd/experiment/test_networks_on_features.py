"""Networks on codes in an experiment: views they cannot take, losses they cannot serve, files made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from reskd.cli import run_tool
from reskd.commands import analyze, export
from reskd.experiment.config import parse_config
from reskd.experiment.networks import build_networks, check_networks
from reskd.models.families.registry import build_recognizer
from reskd.training.checkpoint import save_checkpoint
from reskd.training.run_directory import config_hash
from tests.reskd.experiment.test_config import tree
from tests.reskd.feature_files import DIM, experiment, network, taught

NOWHERE = Path("nowhere")


def _groups(**sizes: int) -> dict[str, Any]:
    changed = experiment(NOWHERE, NOWHERE)
    changed["data"]["groups"] = sizes
    return changed


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            _groups(rgb=7),
            r"data.views.student does not suit .*: features: expected 6 per frame \(rgb 6\), found 7",
        ),
        (
            _groups(rgb=4, audio=2),
            r"expected data.groups \[\('rgb', 4\), \('audio', 2\)\], in that order, found groups",
        ),
        (
            experiment(NOWHERE, NOWHERE, student={"backbone": "resnet18"}),
            r"expected a view of pixels, \(T, H, W\), fou",
        ),
        (tree(student=network()) | {"teacher": None, "loss": {}}, r"expected a view of features, \(T, D\), found \(8"),
    ],
)
def test_views_that_do_not_suit_are_named_without_memory_or_data(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_networks(parse_config(settings))


def test_a_student_may_have_other_blocks_than_its_teacher() -> None:
    settings = taught(
        NOWHERE, NOWHERE, {"model": network(block_length=8) | {"weights": "x.pt"}}, student=network(block_length=2)
    )
    settings["loss"] = {"task": "sigmoid_bce", "embedding": {"alpha": 1, "reduction": "mean"}}
    check_networks(parse_config(settings))


def test_an_aggregated_student_of_clips_learns_from_maps_of_a_plain_teacher() -> None:
    settings = tree(loss={"pixel": {"alpha": 1}})
    settings["teacher"] = {"model": {"backbone": "resnet18", "weights": "x.pt"}, "batch_norm": "running_stats"}
    settings["student"] = {
        "family": "aggregated",
        "backbone": "resnet18",
        "aggregator": {"kind": "h_rnn", "block_length": 4, "hidden_dim": 8},
        "classifier": {"kind": "linear"},
    }
    check_networks(parse_config(settings))
    settings["loss"] = {"logit_map": {"alpha": 1}}
    with pytest.raises(
        ValueError, match=r"found family aggregated, whose head takes a clip's embedding; leave out loss"
    ):
        build_networks(parse_config(settings), num_classes=2, device=torch.device("meta"))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    config = parse_config(experiment(tmp_path, tmp_path / "runs", student=network("mean")))
    model = build_recognizer(config.student, 3)
    description = {"config": config.resolved(), "config_hash": config_hash(config.resolved())}
    content = {"student": model.state_dict(), "loss": {}, "class_names": list("abc"), "num_steps": 1}
    save_checkpoint(tmp_path / "last.pt", description | content)
    return tmp_path / "last.pt"


def test_a_checkpoint_of_features_is_exported_by_the_tool(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run_tool(export.main, [str(checkpoint), "--out", str(out), "--format", "safetensors"]) == 0
    assert "done: " in capsys.readouterr().out
    about = json.loads((out / "config.json").read_text())
    assert about["input"] == {"name": "features", "dtype": "uint8", "shape": ["N", 4, DIM]}
    assert about["valid"] == {"name": "valid", "dtype": "bool", "shape": ["N", 4]}
    assert about["frames"] == {"selection": "uniform", "num_frames": 4, "max_frames": 8}
    assert run_tool(export.main, [str(checkpoint), "--out", str(out), "--clips", "a.mp4"]) == 1
    assert "--clips: expected none, as this student takes features" in capsys.readouterr().err


def test_operations_of_a_config_of_features_come_from_its_own_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = taught(NOWHERE, NOWHERE, {"model": network(block_length=8) | {"weights": "x.pt"}})
    settings["loss"] = {"task": "sigmoid_bce", "embedding": {"alpha": 1, "reduction": "mean"}}
    (tmp_path / "student.yaml").write_text(json.dumps(settings))
    assert run_tool(analyze.main, ["flops", str(tmp_path / "student.yaml")]) == 0
    printed = capsys.readouterr().out
    assert "student: features h_rnn on rgb, 4 frames, 1 view(s) a video" in printed
    assert "teacher: features h_rnn on rgb, 8 frames" in printed
    assert "8x6" in printed
