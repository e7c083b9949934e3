from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from reskd.study.config import load_study
from reskd.study.plan import plan_study
from tests.reskd.study.tiny_study import tiny_study


def test_every_arm_is_run_at_every_value_and_teachers_come_first(tmp_path: Path) -> None:
    plan = plan_study(tiny_study(tmp_path))
    assert len(plan.runs) == 6
    assert {(arm, cell) for arm, cell in plan.cells} == {
        (arm, (seed,)) for arm in ("teacher", "baseline", "student") for seed in "12"
    }
    assert [(run.arm, run.config.seed) for run in plan.in_order()] == [
        (arm, seed) for seed in (1, 2) for arm in ("teacher", "baseline", "student")
    ]
    for seed in "12":
        student, teacher = (plan.runs[plan.cells[arm, (seed,)]] for arm in ("student", "teacher"))
        assert student.needs == (teacher.name,)
        assert student.config.teacher is not None
        assert student.config.teacher.stage == str(teacher.folder / "config.yaml")
        assert student.config.seed == int(seed)
        assert teacher.keeps
        assert not student.keeps


def test_whole_seeds_come_first_whatever_the_order_of_the_axes(tmp_path: Path) -> None:
    axes = {"alpha": {str(a): {"stages.student.loss.embedding.alpha": a} for a in (1, 10)}, "seed": [1, 2]}
    order = plan_study(tiny_study(tmp_path, axes=axes, arms=["student"], compare=[], recovery=[])).in_order()
    assert [(run.arm, run.config.seed) for run in order] == [
        (arm, seed) for seed in (1, 2) for arm in ("teacher", "student", "student")
    ]


def test_a_run_that_an_axis_does_not_touch_is_made_once(tmp_path: Path) -> None:
    axes = {"seed": [1, 2], "alpha": {str(a): {"stages.student.loss.embedding.alpha": a} for a in (1, 10)}}
    plan = plan_study(tiny_study(tmp_path, axes=axes))
    counts = {arm: len({run for (one, _), run in plan.cells.items() if one == arm}) for arm in ("teacher", "student")}
    assert counts == {"teacher": 2, "student": 4}
    assert len(plan.cells) == 12


def test_two_studies_share_the_runs_of_equal_settings(tmp_path: Path) -> None:
    one, other = plan_study(tiny_study(tmp_path)), plan_study(tiny_study(tmp_path, name="other", axes={"seed": [2, 3]}))
    assert {name for name in one.runs if name in other.runs} == {
        one.runs[one.cells[arm, ("2",)]].name for arm in ("teacher", "baseline", "student")
    }
    changed = plan_study(tiny_study(tmp_path, settings={"optimizer.lr": 0.5}))
    assert not set(changed.runs) & set(one.runs)  # a student's name holds its teacher's


def test_an_arm_is_run_at_the_values_that_only_names_with_all_that_it_needs(tmp_path: Path) -> None:
    only = {arm: {"seed": ["1"]} for arm in ("teacher", "baseline")}
    plan = plan_study(tiny_study(tmp_path, only=only))
    assert ("teacher", ("2",)) not in plan.cells
    assert ("student", ("2",)) in plan.cells
    assert sorted(run.arm for run in plan.runs.values()) == ["baseline", "student", "student", "teacher", "teacher"]


def test_the_arms_that_are_named_are_run_with_those_that_they_need(tmp_path: Path) -> None:
    plan = plan_study(tiny_study(tmp_path, arms=["student"], axes={"seed": [1]}, compare=[], recovery=[]))
    assert sorted(plan.cells) == [("student", ("1",))]
    assert sorted(run.arm for run in plan.runs.values()) == ["student", "teacher"]


def test_arms_that_are_not_run_may_not_fit(tmp_path: Path) -> None:
    settings = {"stages.teacher.data.views.student.num_frames": 5}  # the student's teacher must see as before
    with pytest.raises(ValueError, match="student at seed 1"):
        plan_study(tiny_study(tmp_path, settings=settings))
    assert plan_study(tiny_study(tmp_path, settings=settings, arms=["baseline"], compare=[], recovery=[])).runs


def test_weights_can_be_scored_on_the_view_of_another_arm(tmp_path: Path) -> None:
    plan = plan_study(tiny_study(tmp_path, also_scored={"shown": {"weights": "teacher", "view": "baseline"}}))
    shown, teacher = (plan.runs[plan.cells[arm, ("1",)]] for arm in ("shown", "teacher"))
    assert not shown.is_trained
    assert shown.weights == teacher.name
    assert shown.needs == (teacher.name,)
    assert shown.config.features.views.student.num_frames == 4


def test_checkpoints_of_all_runs_stay_if_asked(tmp_path: Path) -> None:
    assert all(run.keeps for run in plan_study(tiny_study(tmp_path, keep="all")).runs.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compare": [{"arm": "students", "over": "baseline"}]}, r"compare\.0\.arm: expected an arm .*found students"),
        ({"only": {"x": {}}}, r"only\.x: expected an arm \(teacher, baseline, student\), found x"),
        ({"arms": ["baseline"]}, r"compare\.0\.arm: expected one of arms \(baseline\), found student"),
        ({"arms": ["x"]}, r"arms\.x: expected an arm \(teacher, baseline, student\), found x"),
        ({"bars": ["baseline", "x"]}, r"bars\.0\.arms\.1: expected an arm \(teacher, baseline, student\), found x"),
        ({"also_scored": {"s": {"weights": "x", "view": "baseline"}}}, r"also_scored\.s\.weights: expected an arm"),
        ({"also_scored": {"student": {"weights": "student", "view": "baseline"}}}, "student is an arm of"),
        ({"axes": {"lr": {"a": {"optimizer.lrate": 1}}, "seed": [1]}}, r"at lr a, seed 1: .*lrate"),
        (
            {"axes": {"seed": [1], "x": {"a": {}, "b": {}}}},
            "axes.x: expected values that change a run, found a and",
        ),
        ({"settings": {"stages.nobody.seed": 1}}, "nobody"),
        ({"settings": {"loss.embedding.alpha": 2}}, "would not change what stages set themselves"),
        ({"settings": {"student.aggregator.kind": "mean"}}, "at seed 1"),
    ],
)
def test_what_does_not_fit_the_arms_is_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    study = tiny_study(tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        plan_study(study)


def test_arms_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="config: expected a file with the arms at .*no.yaml, found none"):
        plan_study(tiny_study(tmp_path, config="no.yaml"))
    study = tiny_study(tmp_path)
    (tmp_path / "arms.yaml").write_text("name: x\n")
    with pytest.raises(ValueError, match="expected the arms of a study as stages, found none"):
        plan_study(study)


def test_other_test_views_are_other_runs(tmp_path: Path) -> None:
    """They change no training, but all scores."""
    videos = tmp_path / "videos"
    for name in ("a", "b"):
        (videos / name).mkdir(parents=True)
    arms = {
        "name": "arms",
        "data": {
            "root": str(videos),
            "train": "folders",
            "test_fraction": 0.3,
            "sampling": {"num_frames": 2},
            "views": {"student": {"size": 32, "source": "decoded"}},
        },
        "student": {"backbone": "resnet18"},
        "optimizer": {"lr": 0.01},
        "training": {"epochs": 1, "global_batch_size": 2},
        "stages": [{"name": "one"}],
    }
    (tmp_path / "arms.yaml").write_text(yaml.safe_dump(arms))

    def runs(settings: dict[str, Any]) -> set[str]:
        study = {"name": "views", "config": "arms.yaml", "axes": {"seed": [1]}, "repeat": "seed", "settings": settings}
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
        return set(plan_study(load_study(tmp_path / "study.yaml")).runs)

    one, ten = runs({}), runs({"data.sampling.test_clips": 10, "data.sampling.test_crops": 3})
    assert one == runs({"data.sampling.test_clips": 1}) and not one & ten
