from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reskd.experiment.config import ExperimentConfig
from reskd.experiment.stages import check_stages, load_stages
from reskd.first_config.config_text import Machine, first_config, name_of
from reskd.first_config.folder_facts import FolderFacts
from reskd.yaml_reading import read_yaml

FACTS = FolderFacts(
    root=Path("videos"), train="folders", videos_of_class={"left": 40, "right": 60}, short_side=240, num_frames=120,
    num_opened=24, bad={}, group_pattern=None, num_groups=0, remarks=(),
)  # fmt: skip
GPU, CPU = Machine(on_gpu=True, has_timm_weights=False), Machine(on_gpu=False, has_timm_weights=False)


def _stages(facts: FolderFacts, machine: Machine, file: str = "mine.yaml") -> dict[str, ExperimentConfig]:
    configs = load_stages(read_yaml(first_config(Path(file), facts, machine), where=file).value)
    check_stages(configs)
    return {config.name.rpartition(".")[2]: config for config in configs}


@pytest.mark.parametrize("timm_weights", [True, False])
@pytest.mark.parametrize("machine", [GPU, CPU])
def test_the_config_is_whole_and_its_stages_fit(machine: Machine, timm_weights: bool) -> None:
    stages = _stages(FACTS, replace(machine, has_timm_weights=timm_weights))
    assert list(stages) == ["teacher", "baseline", "student"]
    views = stages["student"].clips.views
    assert views.teacher is not None
    sizes = (views.teacher.size, views.student.size, stages["teacher"].clips.views.student.size)
    assert sizes == (((224,) * 2, (112,) * 2, (224,) * 2) if machine.on_gpu else ((128,) * 2, (64,) * 2, (128,) * 2))
    assert stages["student"].training.precision == "auto"
    assert stages["student"].loss.pixel is not None and stages["baseline"].teacher is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"root": Path("a b: 'c' #\u00e4"), "train": "lists/it's.csv"}, "it''s.csv"),
        ({"root": Path("$HOME/${x}")}, "${x}"),
        ({"group_pattern": r"v_(\w+_g\d+)_c\d+", "num_groups": 25}, "A guess from the names: 25 groups"),
        ({"videos_of_class": {"left": 40, "r\n\u00e9": 3}}, "has 3 videos in all"),
        ({"short_side": 0, "num_frames": 0, "bad": {"a": "x"}}, "could be read"),
        ({"short_side": 48}, "larger than the videos, which have 48"),
        ({"num_frames": 3}, "num_frames: 3"),
        ({"videos_of_class": {"left": 40_000, "right": 60_000}}, "epochs: 12"),
        ({"videos_of_class": {"left": 10, "right": 10}}, "global_batch_size: 8"),
        ({"videos_of_class": {"left": 2, "right": 3}}, "global_batch_size: 2"),
    ],
)
def test_what_is_odd_in_a_folder_stays_a_config(change: dict[str, Any], expected: str) -> None:
    facts = replace(FACTS, **change)
    assert expected in first_config(Path("mine.yaml"), facts, GPU)
    student = _stages(facts, GPU)["student"]
    assert (student.clips.root, str(student.clips.train)) == (facts.root, facts.train)
    assert student.clips.group_pattern == facts.group_pattern


@pytest.mark.parametrize(
    ("text", "name"),
    [("mine", "mine"), ("a b/c:d", "a_b_c_d"), ("..", "first"), ("\u00e9", "first"), ("x.y-2", "x.y-2")],
)
def test_a_name_of_an_experiment_is_made_of_any_text(text: str, name: str) -> None:
    assert name_of(text) == name
