"""The study's runs: how many, what differs between them, and that every one is a config that can be built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.fewer_frames.cases import FAMILIES, Case, DataSet, Family, Sweep, cases_of, part_of
from benchmarks.fewer_frames.pixels import PixelCase, pixel_cases
from reskd.experiment.networks import build_networks
from reskd.training.run_changes import flatten
from reskd.training.run_directory import config_hash

SETTINGS = {
    "kind": "features",
    "root": "data",
    "train": "train*",
    "test": "test*",
    "classes": "c",
    "groups": {"rgb": 8},
}
DATA = [DataSet(name, {**SETTINGS, "max_frames": 60}, epochs=1) for name in ("one", "two")]
RUNS = Path("runs/study")
BASE = Path(__file__).parents[3] / "configs/ucf10/teacher_r18-96.yaml"


def settings_of(case: Case) -> dict[str, Any]:
    return dict(flatten(case.config(RUNS).resolved()))


def test_there_are_738_runs_each_of_its_own() -> None:
    cases = cases_of(DATA)
    assert len(cases) == 738 == 41 * 2 * 3 * 3
    assert len({case.name for case in cases}) == 738
    few = [case for case in cases if case.seed == 1 and case.family == "netvlad"]
    assert len({config_hash(case.config(RUNS).resolved()) for case in few}) == 82


def test_trials_are_the_asked_modes_with_other_weights() -> None:
    asked = Sweep(families=["h_rnn"], ks=[6], seeds=[1], modes=["parallel"], weights=(0.0, 2.0))
    teacher, student = cases_of(DATA[:1], asked)
    (usual,) = (case for case in cases_of(DATA[:1], Sweep(ks=[6], seeds=[1])) if case.name == student.name)
    assert teacher.mode == "teacher" and teacher.weights is None
    mine, theirs = settings_of(student), settings_of(usual)
    differing = {key: (theirs[key], mine[key]) for key in theirs if mine[key] != theirs[key]}
    assert differing == {"loss.embedding.alpha": (0.1, 0.0), "loss.prediction.alpha": (1.0, 2.0)}


def test_two_processes_share_the_runs_and_no_teacher() -> None:
    cases = cases_of(DATA, Sweep(ks=[6]))
    parts = [part_of(cases, (number, 2)) for number in (1, 2)]
    assert sorted(case.name for part in parts for case in part) == sorted(case.name for case in cases)
    teachers = [{(case.data.name, case.family, case.seed) for case in part} for part in parts]
    assert not teachers[0] & teachers[1]


def test_a_part_without_a_teacher_is_told() -> None:
    cases = cases_of(DATA[:1], Sweep(ks=[6], seeds=[1]))
    assert part_of(cases, (3, 4))
    with pytest.raises(ValueError, match="there are 3 teachers; expected a part from 1 to 3, found 4/4"):
        part_of(cases, (4, 4))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_distilled_run_differs_from_its_baseline_in_the_teacher_alone(family: Family) -> None:
    baseline, serial = (Case(DATA[0], family, mode, "uniform", 10, 1) for mode in ("baseline", "serial"))
    mine, theirs = settings_of(baseline), settings_of(serial)
    differing = {key.split(".")[0] for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key)}
    assert differing == {"name", "teacher", "loss", "data"}  # data: the teacher's view
    assert mine["data.views.student.selection"] == theirs["data.views.student.selection"]


def test_a_students_blocks_are_a_fifth_of_its_frames() -> None:
    lengths = [
        settings_of(Case(DATA[0], "h_rnn", "baseline", "uniform", k, 1))["student.aggregator.block_length"]
        for k in (6, 10, 30)
    ]
    assert lengths == [1, 2, 6]


@pytest.mark.parametrize("family", FAMILIES)
def test_parallel_students_can_be_built(family: Family) -> None:
    config = Case(DATA[0], family, "parallel", "uniform", 6, 1).config(RUNS)
    student, teacher, _ = build_networks(config, num_classes=4, device=torch.device("meta"))
    assert teacher is not None
    assert student.embedding_dim


@pytest.mark.parametrize("k", [2, 8])
def test_pixel_students_learn_from_maps_code_and_scores(k: int) -> None:
    config = PixelCase("distilled", k, 48, 1, 1.0).config(BASE, RUNS)
    assert config.loss.distillation_terms == ("pixel", "embedding", "prediction")
    assert config.clips.views.student.num_frames == k
    assert config.teacher is not None
    assert config.teacher.model is not None
    assert config.teacher.model.weights == "runs/study/pixels-teacher-k8-96px-s1/last.pt"
    build_networks(config, num_classes=4, device=torch.device("meta"))


def test_teachers_come_before_the_students_of_the_grid() -> None:
    cases = pixel_cases([2, 8], [48], [1, 2], epochs=1.0)
    assert [case.mode for case in cases] == ["teacher", "baseline", "distilled", "baseline", "distilled"] * 2
