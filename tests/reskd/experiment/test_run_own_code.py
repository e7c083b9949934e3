"""A whole run of the user's own code: network, loss term, metric and logger; stopped and resumed to the bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from reskd.distributed import World
from reskd.experiment.config import ExperimentConfig, parse_config
from reskd.experiment.networks import check_networks
from reskd.experiment.run import score_checkpoint, train_experiment
from reskd.experiment.stages import load_stages, train_stages
from reskd.training.checkpoint import load_checkpoint

WORLD = World(0, 1, torch.device("cpu"))
EXAMPLES = Path(__file__).parents[3] / "docs/examples"

WITHOUT_MAP = {"family": "python", "build": "torchvision.models:resnet18", "input": "BCHW"}


def settings(root: Path, runs: Path, **changes: Any) -> dict[str, Any]:
    network = {"family": "python", "build": f"{EXAMPLES}/own_network.py:tiny"}
    cosine = {"build": f"{EXAMPLES}/own_parts.py:cosine_term", "alpha": 0.5}
    return {
        "name": "own",
        "runs": str(runs),
        "device": "cpu",
        "data": {
            "root": str(root),
            "train": "folders",
            "val_fraction": 0.25,
            "sampling": {"num_frames": 4},
            "views": {"teacher": {"size": 64}, "student": {"size": 32, "source": "teacher_view"}},
            "loader": {"num_workers": 1, "num_threads": 1},
        },
        "student": {**network, "arguments": {"width": 4}},
        "teacher": {"model": {**network, "arguments": {"width": 6}}, "update": "joint", "batch_norm": "batch_stats"},
        "loss": {"pixel": {"alpha": 1, "projection": "linear"}, "terms": {"cosine": cosine}},
        "optimizer": {"lr": 0.01},
        "training": {"epochs": 2, "global_batch_size": 3, "log_every_steps": 1, "checkpoint_every_steps": 1},
        "metrics": {
            "f1": {"build": "torchmetrics.classification:MulticlassF1Score", "arguments": {"average": "macro"}}
        },
        "loggers": {"lines": {"build": f"{EXAMPLES}/own_parts.py:csv_logger"}},
        **changes,
    }


@pytest.fixture
def root(make_folder: Callable[..., Path]) -> Path:
    return make_folder({"left": ["libx264"] * 4, "right": ["mjpeg"] * 4}, num_frames=8)


def test_a_run_of_own_code_is_logged_scored_and_resumed_to_the_bit(root: Path, tmp_path: Path) -> None:
    whole = parse_config(settings(root, tmp_path / "whole"))
    train_experiment(whole, world=WORLD)
    lines = [json.loads(line) for line in (whole.folder / "metrics.jsonl").read_text().splitlines()]
    assert {"loss/cosine", "loss/pixel", "loss/task"} <= lines[0].keys()
    assert 0 <= lines[-1]["val/f1"] <= 1
    logged = (whole.folder / "losses.txt").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in logged] == [line["loss/total"] for line in lines]
    scored = score_checkpoint(whole, whole.folder / "last.pt", world=WORLD, split="val")
    assert scored.result["metrics"]["f1"] == lines[-1]["val/f1"]

    half = parse_config(settings(root, tmp_path / "half"))

    def cut(name: str, step: int, total: int, values: Mapping[str, float]) -> None:
        if step == 3:
            raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        train_experiment(half, world=WORLD, on_log=cut)
    train_experiment(half, world=WORLD)
    states = [load_checkpoint(config.folder / "last.pt") for config in (whole, half)]
    for part in ("student", "teacher", "loss"):
        for name, value in states[0][part].items():
            assert torch.equal(states[1][part][name], value), name
    assert {name for name in states[0]["loss"] if "extra" in name} == {
        "extra.cosine.projection.weight",
        "extra.cosine.projection.bias",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"metrics": {"f1": {"build": "torchmetrics.classification:MulticlassF1"}}},
            "metrics.f1.build: .* did you mean",
        ),
        ({"loggers": {"a": {"build": "nobody"}}}, "loggers.a.build: .*no logger is installed"),
        (
            {"loss": {"terms": {"a": {"build": "no/file.py:f", "alpha": 1}}}},
            "loss.terms.a.build: expected a Python file",
        ),
        ({"loss": {"pixel": {"alpha": 1}}}, "set loss.pixel.projection to linear"),
        (
            {"student": WITHOUT_MAP},
            "feature maps, and the student, torchvision.models:resnet18, gives none",
        ),
        ({"loss": {"logit_map": {"alpha": 1}}}, "loss.logit_map needs"),
        (
            {"teacher": None, "loss": {}, "student": {"family": "python", "build": "os:getcwd"}},
            "called with num_classes",
        ),
    ],
)
def test_own_code_is_refused_before_a_video_is_looked_into(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    config = parse_config(settings(tmp_path / "nowhere", tmp_path / "runs", **changes))
    with pytest.raises(ValueError, match=message):
        check_networks(config)
    with pytest.raises(ValueError, match=message):
        train_experiment(config, world=WORLD)
    assert not (tmp_path / "runs").exists()


def test_a_term_that_does_not_fit_the_outputs_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    text = (
        "def fits_not(pair):\n"
        "    return lambda student, teacher, targets: (student.features_NTDHW - teacher.features_NTDHW).mean()\n"
        "def reads_values(pair):\n"
        "    return lambda student, teacher, targets: student.logits_NK.mean() * float(teacher.logits_NK.mean())\n"
    )
    (tmp_path / "terms.py").write_text(text, encoding="utf-8")

    def config(name: str) -> ExperimentConfig:
        loss = {"terms": {"own": {"build": f"{tmp_path}/terms.py:{name}", "alpha": 1}}}
        return parse_config(settings(tmp_path / "nowhere", tmp_path / "runs", loss=loss))

    with pytest.raises(ValueError, match=r"loss.terms.own failed with RuntimeError: .* \(terms.py, line 2\)"):
        check_networks(config("fits_not"))
    check_networks(config("reads_values"))


def test_the_example_of_a_timm_teacher_and_an_own_student_runs(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/examples/timm_teacher_own_student.yaml as it is, on other videos and for less time."""
    pytest.importorskip("timm")
    monkeypatch.chdir(EXAMPLES.parents[1])
    changes = [f"data.root={root}", "data.train=folders", "data.test=null", f"runs={tmp_path}", "device=cpu"]
    changes += ["training.epochs=1", "training.global_batch_size=2", "data.loader.num_workers=1"]
    teacher, student = load_stages(EXAMPLES / "timm_teacher_own_student.yaml", changes)
    assert (teacher.student.family, student.student.family) == ("tsn", "python")
    runs = train_stages([teacher, student], world=WORLD)
    line = json.loads((runs[1].path / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"loss/pixel", "loss/clip", "loss/task"} <= line.keys()
