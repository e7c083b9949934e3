from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reskd.study.config import load_study
from reskd.study.plan import plan_study
from tests.reskd.study.tiny_study import tiny_study, write_study


def test_values_of_an_axis_are_those_of_its_key_or_named_settings(tmp_path: Path) -> None:
    study = tiny_study(
        tmp_path, axes={"optimizer.lr": [0.1, 0.02], "split": {"1": {"data.test": "a"}}}, repeat=None, compare=[]
    )
    assert study.settings_of("optimizer.lr", "0.1") == {"optimizer.lr": 0.1}
    assert study.settings_of("split", "1") == {"data.test": "a"}


def test_settings_of_the_command_line_replace_those_of_the_file(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    overrides = ["checkpoint=best", "settings.training.epochs=1", "quick.settings.stages.student.optimizer.lr=0.5"]
    study = load_study(path, overrides)
    assert study.checkpoint == "best"
    assert study.settings == {"training.epochs": 1}
    assert study.quick.settings == {"stages.student.optimizer.lr": 0.5}
    assert plan_study(study)
    assert study.config == tmp_path / "arms.yaml"


@pytest.mark.parametrize(
    "given, kept",
    [
        (["axes.seed=[2,3]"], ["2", "3"]),
        (["axes.seed=[1,3]"], ["1"]),
        (["axes.seed=[2,3]", "quick.axes.seed=['3']"], ["3"]),
    ],
)
def test_the_quick_size_follows_an_axis_of_the_command_line(tmp_path: Path, given: list[str], kept: list[str]) -> None:
    path = write_study(tmp_path, quick={"axes": {"seed": ["1"]}})
    assert load_study(path, given).quick.axes == {"seed": kept}


def test_the_quick_size_keeps_the_named_values_under_another_name(tmp_path: Path) -> None:
    quick = {"axes": {"seed": ["2"]}, "settings": {"training.epochs": 1}}
    study = tiny_study(tmp_path, quick=quick, only={"student": {"seed": ["1"]}}).quickened()
    assert study.name == "tiny_quick"
    assert study.axes == {"seed": {"2": 2}}
    assert study.only == {"student": {"seed": ["2"]}}
    assert study.settings == {"training.epochs": 1}


def test_a_group_pattern_needs_a_group(tmp_path: Path) -> None:
    assert tiny_study(tmp_path, group_pattern=r"(\w+)_c").group_pattern == r"(\w+)_c"
    with pytest.raises(ValueError, match="group_pattern: expected a pair of parentheses around the group"):
        tiny_study(tmp_path, group_pattern=r"\w+_c")


def test_bars_are_a_list_of_arms_or_groups_with_titles(tmp_path: Path) -> None:
    (plain,) = tiny_study(tmp_path, bars=["baseline", "student"]).bars
    assert (plain.title, plain.arms) == ("", ("baseline", "student"))
    groups = [{"title": "One", "arms": ["student"]}, {"arms": ["teacher", "baseline"]}]
    assert [(one.title, one.arms) for one in tiny_study(tmp_path, bars=groups).bars] == [
        ("One", ("student",)),
        ("", ("teacher", "baseline")),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bars": [{"title": "x", "arms": []}]}, "bars"),
        ({"bars": "student"}, "bars"),
        ({"axis": {}}, r"study\.yaml, line [0-9]+: unknown key axis; did you mean axes"),
        ({"repeat": "fold"}, r"repeat: expected an axis of this study \(seed\), found fold"),
        ({"pool": "seed"}, "repeat and pool: expected two axes, found seed for both"),
        (
            {"only": {"student": {"seed": ["3"]}}},
            r"only\.student\.seed: expected of 1, 2, the values of axes.seed, found 3",
        ),
        ({"quick": {"axes": {"fold": ["3"]}}}, r"quick\.axes: expected an axis of this study \(seed\), found fold"),
        ({"axes": {"seed": [1, 1]}}, "expected values that differ"),
        ({"axes": {"seed": []}}, "axes.seed"),
        ({"settings": {"seed": 1}}, "axes.seed: sets seed, and settings sets seed: keep one of them"),
        (
            {"axes": {"seed": [1], "try": {"a": {"data.sampling": {}}}, "data.sampling.crop": ["none"]}},
            "axes.data.sampling.crop: sets data.sampling.crop, and axes.try sets data.sampling: keep one of them",
        ),
        ({"score": "train"}, "score: .*'test' or 'val'.*found 'train'"),
        ({"name": "../x"}, "name"),
        ({"plot_over": "seed"}, "plot_over: expected neither repeat nor pool, found seed"),
        ({"axes": {"x": {"a": {}}}, "repeat": None, "plot_over": "x"}, "plot_over: .* values are numbers, found a"),
    ],
)
def test_what_is_wrong_in_a_study_is_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write_study(tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        load_study(path)


def test_a_file_that_is_not_there_or_is_no_study_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected the YAML file of a study at .*nothing\.yaml, found none"):
        load_study(tmp_path / "nothing.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ValueError, match=r"list\.yaml"):
        load_study(tmp_path / "list.yaml")
