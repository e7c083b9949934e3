"""From records of features to a student that is evaluated, by the trainer and the evaluator of videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dali_pipes.synthetic.features import SyntheticSpec, write_synthetic
from reskd.distributed import World
from reskd.experiment.config import ExperimentConfig, parse_config
from reskd.experiment.run import score_checkpoint, train_experiment
from reskd.training.checkpoint import load_checkpoint

WORLD = World(0, 1, torch.device("cpu"))
GROUPS = {"rgb": 12, "audio": 4}
SPEC = replace(SyntheticSpec(), num_classes=4, groups=GROUPS, frames=(5, 20))


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("records")
    write_synthetic(SPEC, root, {"train": 24, "val": 6, "test": 7}, videos_per_file=10)
    return root


def _config(records: Path, runs: Path, **changes: Any) -> ExperimentConfig:
    tree: dict[str, Any] = {
        "name": "student",
        "runs": str(runs),
        "device": "cpu",
        "data": {
            "kind": "features",
            "root": str(records),
            "train": "train*.tfrecord",
            "val": "val*.tfrecord",
            "test": "test*.tfrecord",
            "classes": "classes.txt",
            "groups": GROUPS,
            "max_frames": 16,
            "views": {"student": {"num_frames": 4, "selection": "random"}},
        },
        "student": {
            "family": "features",
            "weights": "none",
            "groups": GROUPS,
            "aggregator": {"kind": "mean"},
            "classifier": {"kind": "linear", "dropout": 0.5},
        },
        "loss": {"task": "sigmoid_bce"},
        "optimizer": {"lr": 0.1},
        "training": {
            "epochs": 3,
            "global_batch_size": 8,
            "selection_metric": "gap",
            "checkpoint_every_steps": 1,
            "log_every_steps": 1,
        },
    }
    return parse_config({**tree, **changes})


def test_a_student_of_features_is_trained_and_evaluated(records: Path, tmp_path: Path) -> None:
    config = _config(records, tmp_path)
    logged: list[Mapping[str, float]] = []
    run = train_experiment(config, world=WORLD, on_log=lambda name, step, total, values: logged.append(values))
    assert len(logged) == 9 and (run.path / "best.pt").is_file()
    result = score_checkpoint(config, run.path / "last.pt", world=WORLD).result
    assert result["coverage"] == {"listed": 7, "scored": 7, "named": []}
    assert {"gap", "map", "hit1"} <= set(result["metrics"])
    assert result["protocol"].startswith("4 of at most 16 frames (random) of the features rgb (12) and audio (4)")
    assert result["views"]["clips"] == 1 and len(result["manifest_hash"]) == 64
    tree = config.resolved()
    tree["data"] |= {"classes": None, "num_classes": 4}
    with pytest.raises(ValueError, match="has the classes"):
        score_checkpoint(parse_config(tree), run.path / "last.pt", world=WORLD)


def test_a_resumed_run_equals_the_unbroken_one_to_the_bit(records: Path, tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def kill(name: str, step: int, total: int, values: Mapping[str, float]) -> None:
        if step == 5:
            raise KilledError

    whole = train_experiment(_config(records, tmp_path / "whole"), world=WORLD)
    config = _config(records, tmp_path / "broken")
    with pytest.raises(KilledError):
        train_experiment(config, world=WORLD, on_log=kill)
    assert 0 < load_checkpoint(config.folder / "last.pt")["num_steps"] < 9
    resumed = train_experiment(config, world=WORLD)
    first, second = (load_checkpoint(run.path / "last.pt") for run in (whole, resumed))
    assert first["num_steps"] == second["num_steps"] == 9
    assert all(torch.equal(first["student"][name], second["student"][name]) for name in first["student"])
    assert first["manifest_hash"] == second["manifest_hash"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": {"task": "softmax_ce"}}, "several labels, which loss.task = softmax_ce cannot learn"),
        (
            {"training": {"epochs": 1, "global_batch_size": 8, "selection_metric": "top1"}},
            "several labels per video, 4 classes",
        ),
    ],
)
def test_a_loss_or_metric_for_one_label_is_refused_before_a_step(
    records: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        train_experiment(_config(records, tmp_path, **changes), world=WORLD)
