"""The recipes of the fewer-frames paper: the overrides that documents and head comments name, and the stages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from reskd.distributed import World
from reskd.experiment.config import ExperimentConfig
from reskd.experiment.networks import check_networks
from reskd.experiment.stages import load_stages, train_stages
from reskd.training.checkpoint import load_checkpoint
from tests.reskd.feature_files import DIM, NUM_CLASSES, write_features

FAMILIES = ("h-rnn", "netvlad", "nextvlad")
SERIAL = [Path(f"configs/fewer_frames/yt8m_{family}-300_{family}-30.yaml") for family in FAMILIES]
PARALLEL = [path.with_name(f"{path.stem}_parallel.yaml") for path in SERIAL]
RELEASED = Path("configs/fewer_frames/yt8m_h-rnn-300_h-rnn-30_released.yaml")


def _combinations() -> dict[str, list[str]]:
    """The table of the documents: terms -> overrides."""
    text = Path("docs/fewer_frames.md").read_text(encoding="utf-8")
    table = text.partition("### Combinations of the terms")[2].partition("###")[0]
    rows = re.findall(r"^\| (L_[^|]+) \| ([^|]+) \|$", table, re.MULTILINE)
    return {terms: cell.strip("`").split() if cell != "none" else [] for terms, cell in rows}


COMBINATIONS = _combinations()
NAMES = {"L_CE": "task", "L_rep": "embedding", "L_pred": "prediction"}


def _stages(path: Path, overrides: list[str]) -> dict[str, ExperimentConfig]:
    return {config.name.rpartition(".")[2]: config for config in load_stages(path, [*overrides, "name=other"])}


def test_the_table_holds_every_combination_with_a_teacher() -> None:
    found = {frozenset(terms.split(" + ")) for terms in COMBINATIONS}
    assert len(found) == len(COMBINATIONS) == 6
    assert all(terms & {"L_rep", "L_pred"} and terms <= set(NAMES) for terms in found)


@pytest.mark.parametrize("terms", COMBINATIONS)
@pytest.mark.parametrize("path", [*SERIAL, *PARALLEL], ids=lambda path: path.stem)
def test_a_combination_has_the_terms_that_its_row_names(path: Path, terms: str) -> None:
    stages = _stages(path, COMBINATIONS[terms])
    learned = {name for name, weight in stages["student"].loss.weights.items() if weight > 0}
    assert learned == {NAMES[term] for term in terms.split(" + ")}
    assert stages["finetuned"].loss.weights == {"task": 1.0}


@pytest.mark.parametrize("path", [*SERIAL, *PARALLEL], ids=lambda path: path.stem)
def test_the_head_comments_override_makes_the_two_share_a_classifier(path: Path) -> None:
    head = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    (override,) = re.findall(r"(\S*teacher\.shares_head=true) name=", head)
    stages = _stages(path, [override])
    student = stages["student"]
    assert student.teacher is not None and student.teacher.shares_head
    assert stages["finetuned"].teacher is None
    check_networks(student, stage=stages.get("teacher"))


@pytest.mark.parametrize("path", [*PARALLEL, RELEASED], ids=lambda path: path.stem)
def test_parallel_training_ends_with_fine_tuning_by_the_labels_alone(path: Path) -> None:
    student, finetuned = load_stages(path)
    assert student.teacher is not None and student.teacher.update == "joint"
    assert finetuned.teacher is None and finetuned.data.views.teacher is None
    assert finetuned.student.weights == "stage:student"
    assert student.data.views.student == finetuned.data.views.student
    assert finetuned.training.epochs == 3


@pytest.mark.parametrize(
    ("path", "override"),
    [
        (SERIAL[0], "stages.student.teacher.shares_head=true"),
        (PARALLEL[0], "teacher.shares_head=true"),
    ],
    ids=["serial", "parallel"],
)
def test_a_shared_classifier_is_trained_and_fine_tuned(tmp_path: Path, path: Path, override: str) -> None:
    write_features(tmp_path)
    tiny = [f"data.root={tmp_path}", f"runs={tmp_path}/runs", f"data.num_classes={NUM_CLASSES}",
            "data.train=train.tfrecord", "data.test=test.tfrecord", "device=cpu",
            "data.val_fraction=0.25", "student.aggregator.hidden_dim=4", "training.global_batch_size=6"]  # fmt: skip
    if path in PARALLEL:
        tiny += ["teacher.model.aggregator.hidden_dim=4", f"teacher.model.groups={{rgb: {DIM}}}"]
    sizes = f"{{rgb: {DIM}}}"
    configs = load_stages(path, [*tiny, f"data.groups={sizes}", f"student.groups={sizes}", override])
    trained = train_stages(configs, world=World(0, 1, torch.device("cpu")))
    runs = {run.path.name.rpartition(".")[2]: run for run in trained}
    states = {name: load_checkpoint(run.last) for name, run in runs.items()}
    mine = _head(states["student"]["student"])
    theirs = _head(states["teacher"]["student"] if path in SERIAL else states["student"]["teacher"])
    tuned = _head(states["finetuned"]["student"])
    assert mine.keys() == theirs.keys() == tuned.keys() and mine
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert not all(torch.equal(mine[name], tuned[name]) for name in mine)


def _head(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if name.startswith("head.")}
