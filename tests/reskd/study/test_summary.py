from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reskd.statistics.metrics import LABEL_SET_METRICS, METRICS
from reskd.study.config import ComparisonConfig
from reskd.study.page.data import StudyReport
from reskd.study.page.page import render_page
from reskd.study.plan import PlannedRun, StudyPlan, plan_study
from reskd.study.runner import run_study
from reskd.study.scores import RunScores, read_scores, write_scores
from reskd.study.summary import Rows, summarize_study
from reskd.study.work import scores_path
from tests.reskd.feature_files import write_features
from tests.reskd.study.test_runner import in_this_process
from tests.reskd.study.tiny_study import tiny_study

ALPHAS = {str(alpha): {"stages.student.loss.embedding.alpha": alpha} for alpha in (1, 4)}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyPlan, Rows]:
    folder = tmp_path_factory.mktemp("study")
    bars = [{"title": "Levels", "arms": ["baseline", "student"]}]
    plan = plan_study(tiny_study(folder, axes={"seed": [1, 3], "alpha": ALPHAS}, plot_over="alpha", bars=bars))
    return plan, run_study(plan, engine=in_this_process)


def test_each_arm_at_each_condition_is_a_row_with_the_mean_over_seeds(done: tuple[StudyPlan, Rows]) -> None:
    plan, rows = done
    report = summarize_study(plan, rows, command="x")
    assert [arm.name for arm in report.arms] == ["teacher", "baseline", "student (1)", "student (4)"]
    assert {(arm.num_done, arm.num_planned) for arm in report.arms} == {(2, 2)}
    assert [arm.axis_values for arm in report.arms] == [(1.0, 4.0), (1.0, 4.0), (1.0,), (4.0,)]
    student = next(arm for arm in report.arms if arm.name == "student (4)")
    assert student.summary is not None
    for name in ("gap", "map", "hit1", "perr"):
        of_seeds = [rows[plan.cells["student", (seed, "4")]]["metrics"][name] for seed in "13"]
        assert student.summary.metrics[name].mean == pytest.approx(np.mean(of_seeds), abs=1e-6)
    assert student.gflops_per_video == 2 * rows[plan.cells["student", ("1", "4")]]["gmacs_per_video"]


def test_videos_of_one_scene_are_drawn_together(done: tuple[StudyPlan, Rows]) -> None:
    plan, rows = done

    def num_groups() -> int:
        found = summarize_study(plan, rows, command="x").comparisons[0].comparison
        assert found is not None
        return found.num_groups

    whole = [(run, read_scores(scores_path(run), run)) for run in plan.runs.values()]
    num_videos = len(whole[0][1].videos)
    assert num_groups() == num_videos  # without groups each video stands alone
    try:
        for run, scores in whole:
            groups = tuple(f"scene {number // 2}" for number in range(num_videos))
            _write(run, replace(scores, groups=groups))
        assert num_groups() == (num_videos + 1) // 2
    finally:
        for run, scores in whole:
            _write(run, scores)


def test_the_study_names_the_groups_of_features(done: tuple[StudyPlan, Rows]) -> None:
    plan, rows = done
    run = next(iter(plan.runs.values()))
    videos = read_scores(scores_path(run), run).videos

    study = plan.study.model_copy(update={"group_pattern": r"(.)$"})
    found = summarize_study(replace(plan, study=study), rows, command="x").comparisons[0].comparison
    assert found is not None and found.num_groups == len({video[-1] for video in videos}) < len(videos)


def _write(run: PlannedRun, scores: RunScores) -> None:
    with scores_path(run).open("wb") as file:
        write_scores(scores, file)


def test_bars_and_lines_have_arms_with_intervals_and_titles_in_words(done: tuple[StudyPlan, Rows]) -> None:
    plan, rows = done
    report = summarize_study(plan, rows, command="x")
    assert [(one.title, one.arms) for one in report.bars] == [
        (f"Levels ({alpha})", ("baseline", f"student ({alpha})")) for alpha in "14"
    ]
    assert report.axis_title == "alpha"
    titled = plan.study.model_copy(update={"plot_title": "weight of the embedding"})
    assert summarize_study(replace(plan, study=titled), rows, command="x").axis_title == "weight of the embedding"
    for arm in report.arms:
        assert arm.summary is not None
        for name in ("gap", "map", "log_loss"):
            low, high = arm.intervals[name]
            assert low <= arm.summary.metrics[name].mean <= high
    plain = plan.study.model_copy(update={"plot_over": None, "bars": ()})
    assert not any(arm.intervals for arm in summarize_study(replace(plan, study=plain), rows, command="x").arms)


def test_a_line_of_the_chart_joins_the_values_of_one_axis_alone(tmp_path: Path) -> None:
    axes = {
        "seed": [1],
        "alpha": ALPHAS,
        "frames": {name: {"data.views.student.num_frames": int(name)} for name in "24"},
    }
    plan = plan_study(tiny_study(tmp_path, axes=axes, plot_over="alpha"))
    lines: dict[str, list[tuple[float, ...]]] = {}
    for arm in summarize_study(plan, {}, command="x").arms:
        lines.setdefault(arm.line, []).append(arm.axis_values)
    assert lines == {
        "teacher": [(1.0, 4.0)],
        "baseline (2)": [(1.0, 4.0)],
        "baseline (4)": [(1.0, 4.0)],
        "student (2)": [(1.0,), (4.0,)],
        "student (4)": [(1.0,), (4.0,)],
    }


def test_the_time_from_file_is_the_one_in_the_rows(done: tuple[StudyPlan, Rows]) -> None:
    plan, rows = done
    name = plan.cells["student", ("1", "4")]
    timed = {**rows, name: {**rows[name], "ms_from_file": 31.5}}
    times = {arm.name: arm.ms_from_file for arm in summarize_study(plan, timed, command="x").arms}
    assert times.pop("student (4)") == 31.5
    assert set(times.values()) == {None}


def mean_gap(done: tuple[StudyPlan, Rows], arm: str, alpha: str) -> float:
    plan, rows = done
    return float(np.mean([rows[plan.cells[arm, (seed, alpha)]]["metrics"]["gap"] for seed in "13"]))


def test_comparisons_are_paired_and_have_every_metric(done: tuple[StudyPlan, Rows]) -> None:
    plan, rows = done
    report = summarize_study(plan, rows, command="x")
    assert [(one.arm, one.other) for one in report.comparisons] == [
        (f"student ({alpha})", "baseline") for alpha in "14"
    ]
    found = report.comparisons[1].comparison
    assert found is not None
    assert (found.num_seeds, found.num_videos) == (2, 24)
    difference = next(one for one in found.differences if one.metric.name == "gap")
    assert difference.value == pytest.approx(mean_gap(done, "student", "4") - mean_gap(done, "baseline", "4"), abs=1e-6)
    page = render_page(report)
    assert all(title in page for title in ("GAP@20", "mAP", "PERR", "log loss", "student (4)"))
    assert "top-1" not in page


def test_an_arm_is_compared_with_itself_at_another_value_of_an_axis(done: tuple[StudyPlan, Rows]) -> None:
    plan, rows = done
    student = {"arm": "student", "over": "student", "at": {"alpha": 4}, "over_at": {"alpha": 1}}
    baseline = {"arm": "student", "over": "baseline", "at": {"alpha": 4}}
    compare = tuple(ComparisonConfig.model_validate(one) for one in (student, baseline))
    report = summarize_study(replace(plan, study=plan.study.model_copy(update={"compare": compare})), rows, command="x")
    assert [(one.arm, one.other, one.question) for one in report.comparisons] == [
        ("student (4)", "student (1)", "student (alpha 4) over student (alpha 1)"),
        ("student (4)", "baseline", "student (alpha 4) over baseline (alpha 4)"),
    ]
    found = report.comparisons[0].comparison
    assert found is not None
    difference = next(one for one in found.differences if one.metric.name == "gap")
    assert difference.value == pytest.approx(mean_gap(done, "student", "4") - mean_gap(done, "student", "1"), abs=1e-6)


def test_curves_and_charts_are_of_the_metric_that_stands_first(done: tuple[StudyPlan, Rows]) -> None:
    plan, rows = done
    report = summarize_study(plan, rows, command="x")
    assert report.curve_title == "validation GAP@20"
    assert [len(curve) for curve in report.arms[1].curves] == [2, 2]
    assert "GAP@20 over alpha" in render_page(report)


def _report_of(folder: Path, settings: dict[str, Any], *, several_labels: bool = False) -> tuple[StudyReport, Rows]:
    """Of a baseline with one seed."""
    small = {"axes": {"seed": [1]}, "arms": ["baseline"], "compare": [], "recovery": [], "settings": settings}
    study = tiny_study(folder, **small)
    write_features(folder, several_labels=several_labels)
    plan = plan_study(study)
    rows = run_study(plan, engine=in_this_process)
    return summarize_study(plan, rows, command="x"), rows


def test_softmax_scores_of_one_label_have_the_metrics_of_classification(tmp_path: Path) -> None:
    report, _ = _report_of(tmp_path, {"loss.task": "softmax_ce", "training.selection_metric": "top1"})
    assert report.metrics == METRICS
    assert report.curve_title == "validation top-1"


def test_videos_with_several_labels_have_the_metrics_of_their_evaluation(tmp_path: Path) -> None:
    report, rows = _report_of(tmp_path, {"training.selection_metric": "gap"}, several_labels=True)
    assert report.metrics == LABEL_SET_METRICS
    (summary,), (row,) = [arm.summary for arm in report.arms], rows.values()
    assert summary is not None
    found = {name: summary.metrics[name].mean for name in ("gap", "map", "hit1", "perr")}
    assert found == pytest.approx({name: row["metrics"][name] for name in found}, abs=1e-6)


def test_scores_without_the_label_sets_that_they_need_are_refused(done: tuple[StudyPlan, Rows]) -> None:
    plan, rows = done
    name = plan.cells["student", ("1", "4")]
    several = {**rows, name: {**rows[name], "metrics": {"map": 0.5, "gap": 0.5}}}
    with pytest.raises(ValueError, match="expected the label sets of a list with several labels .* delete the folder"):
        summarize_study(plan, several, command="x")


def test_a_seed_that_is_not_whole_counts_nowhere_and_is_named(done: tuple[StudyPlan, Rows]) -> None:
    plan, rows = done
    name = plan.cells["student", ("3", "4")]
    failed = {**rows, name: {"run": name, "arm": "student", "status": "diverged", "reason": "loss is nan"}}
    report = summarize_study(plan, failed, command="x")
    assert [(one.arm, one.run, one.kind, one.reason) for one in report.failures] == [
        ("student", "seed 3, alpha 4", "diverged", "loss is nan")
    ]
    student = next(arm for arm in report.arms if arm.name == "student (4)")
    assert student.summary is not None
    assert (student.num_done, student.summary.num_seeds) == (1, 1)
    assert report.comparisons[1].comparison is not None
    assert report.comparisons[1].comparison.num_seeds == 1


def test_without_a_run_nothing_is_compared(done: tuple[StudyPlan, Rows]) -> None:
    report = summarize_study(done[0], {}, command="x")
    assert all(one.comparison is None for one in report.comparisons)
    assert not report.gaps
    assert "no seed of both is done" in render_page(report)


def test_splits_are_scored_as_one_list(tmp_path: Path) -> None:
    study = tiny_study(tmp_path)
    (tmp_path / "more.tfrecord").write_bytes((tmp_path / "test.tfrecord").read_bytes())
    splits = {name: {"data.test": f"{name}.tfrecord"} for name in ("test", "more")}
    study = study.model_copy(update={"axes": {"seed": {"1": 1}, "split": splits}, "pool": "split"})
    plan = plan_study(study)
    rows = run_study(plan, engine=in_this_process)
    report = summarize_study(plan, rows, command="x")
    assert [arm.summary and arm.summary.num_videos for arm in report.arms] == [48] * 3
    name = plan.cells["student", ("1", "more")]
    half = {**rows, name: {"run": name, "arm": "student", "status": "failed", "reason": "x"}}
    report = summarize_study(plan, half, command="x")
    assert report.arms[2].summary is None
    assert report.comparisons[0].comparison is None


def test_one_training_under_several_seeds_is_one_seed(tmp_path: Path) -> None:
    """The axis changes the student's seed alone."""
    seeds = {str(seed): {"stages.student.seed": seed} for seed in (1, 2, 3)}
    compare = [{"arm": "teacher", "over": "baseline"}, {"arm": "student", "over": "teacher"}]
    plan = plan_study(tiny_study(tmp_path, axes={"seed": seeds}, compare=compare))
    report = summarize_study(plan, run_study(plan, engine=in_this_process), command="x")
    assert {arm.name: arm.summary.num_seeds for arm in report.arms if arm.summary} == {
        "teacher": 1,
        "baseline": 1,
        "student": 3,
    }
    of_one, of_three = (one.comparison for one in report.comparisons)
    assert of_one is not None and of_three is not None
    assert (of_one.num_seeds, of_three.num_seeds) == (1, 3)
    assert {one.verdict for one in of_one.differences} == {"undecided"}
