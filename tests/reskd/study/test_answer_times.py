"""The time from file to scores in the rows of a study on videos; the runs themselves are made up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from reskd.study.answer_times import KEY, add_answer_times, measure_run
from reskd.study.config import load_study
from reskd.study.plan import PlannedRun, StudyPlan, plan_study
from reskd.study.work import DONE, empty_row, read_row, row_path, write_row
from tests.reskd.study.test_runner import in_this_process
from tests.reskd.study.tiny_study import tiny_study


@pytest.fixture(scope="module")
def clips(make_folder: Callable[..., Path]) -> Path:
    return make_folder({"h264": ["libx264"] * 4, "mjpeg": ["mjpeg"] * 4}, num_frames=24)


def video_plan(folder: Path, clips: Path, **changes: Any) -> StudyPlan:
    """Two arms of two sizes, over seeds and learning rates."""
    arms = {
        "name": "x",
        "device": "cpu",
        "runs": str(folder / "runs"),
        "data": {
            "root": str(clips),
            "train": "folders",
            "test_fraction": 0.25,
            "split_seed": 1,
            "scan_cache": str(folder / "scan"),
            "sampling": {"num_frames": 2},
            "views": {"student": {"source": "decoded", "size": 32}},
        },
        "student": {"backbone": "resnet18"},
        "optimizer": {"lr": 0.1},
        "training": {"epochs": 1, "global_batch_size": 2},
        "stages": [{"name": "small"}, {"name": "large", "data": {"views": {"student": {"size": 48}}}}],
    }
    (folder / "arms.yaml").write_text(yaml.safe_dump(arms))
    study = {"name": "s", "config": "arms.yaml", "runs": str(folder / "runs"), "repeat": "seed"}
    study |= {"axes": {"seed": [1, 2], "optimizer.lr": [0.1, 0.2]}}
    (folder / "study.yaml").write_text(yaml.safe_dump(study | changes, sort_keys=False))
    return plan_study(load_study(folder / "study.yaml"))


def done_rows(plan: StudyPlan) -> dict[str, dict[str, Any]]:
    rows = {name: empty_row(run, DONE, "") for name, run in plan.runs.items()}
    for name, run in plan.runs.items():
        write_row(run, rows[name])
    return rows


class Engine:
    """Answers with ``found`` and keeps the arms that it was asked for."""

    def __init__(self, found: Any) -> None:
        self.found, self.asked = found, list[str]()

    def __call__(self, work: Callable[[Any], Any], items: Sequence[PlannedRun], **_: Any) -> Iterator[tuple[Any, Any]]:
        assert work is measure_run and len(items) == 1
        for item in items:
            self.asked.append(item.arm)
            yield item, self.found


def test_each_kind_of_run_is_measured_once_whatever_its_seeds_and_learning_rates(tmp_path: Path, clips: Path) -> None:
    plan = video_plan(tmp_path, clips)
    rows, engine = done_rows(plan), Engine(12.5)
    assert len(rows) == 8
    add_answer_times(plan, rows, engine=engine)
    assert engine.asked == ["small", "large"]
    with_time = {name for name, row in rows.items() if KEY in row}
    assert with_time == {plan.cells[arm, ("1", lr)] for arm in ("small", "large") for lr in ("0.1", "0.2")}
    assert all('"ms_from_file": 12.5' in row_path(plan.runs[name]).read_text() for name in with_time)
    add_answer_times(plan, rows, engine=engine)
    assert engine.asked == ["small", "large"]


def test_a_time_that_is_known_stands_for_runs_that_come_later(tmp_path: Path, clips: Path) -> None:
    plan = video_plan(tmp_path, clips)
    rows = done_rows(plan)
    rows[plan.cells["small", ("2", "0.2")]][KEY] = 7.0
    engine = Engine(12.5)
    add_answer_times(plan, rows, engine=engine)
    assert engine.asked == ["large"]
    assert rows[plan.cells["small", ("1", "0.1")]][KEY] == 7.0
    assert KEY not in rows[plan.cells["small", ("1", "0.2")]]


@pytest.mark.parametrize("found", ["the file is gone", None])
def test_what_cannot_be_measured_is_named_and_tried_again(
    found: str | None, tmp_path: Path, clips: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = video_plan(tmp_path, clips, axes={"seed": [1]})
    rows = done_rows(plan)
    add_answer_times(plan, rows, engine=Engine(found))
    assert not any(KEY in row for row in rows.values())
    assert f"no time from file to scores: {found or 'its process died'}" in caplog.text
    again = Engine(3.0)
    add_answer_times(plan, rows, engine=again)
    assert again.asked == ["small", "large"]


def test_runs_that_are_not_done_and_runs_on_features_are_not_measured(tmp_path: Path, clips: Path) -> None:
    engine = Engine(1.0)
    plan = video_plan(tmp_path, clips, axes={"seed": [1]})
    add_answer_times(plan, {name: empty_row(run, "failed", "x") for name, run in plan.runs.items()}, engine=engine)
    features = plan_study(tiny_study(tmp_path))
    add_answer_times(features, {name: empty_row(run, DONE, "") for name, run in features.runs.items()}, engine=engine)
    assert engine.asked == []


def test_a_real_measurement_needs_no_checkpoint(tmp_path: Path, clips: Path) -> None:
    plan = video_plan(tmp_path, clips, axes={"seed": [1]})
    rows = done_rows(plan)
    add_answer_times(plan, rows, engine=in_this_process)
    assert all(isinstance(row[KEY], float) and row[KEY] > 0 for row in rows.values())


def test_a_list_that_is_gone_becomes_a_sentence(tmp_path: Path, clips: Path) -> None:
    plan = video_plan(tmp_path, clips, axes={"seed": [1]})
    run = next(iter(plan.runs.values()))
    gone = run.config.model_copy(update={"data": run.config.clips.model_copy(update={"root": tmp_path / "gone"})})
    found = measure_run(PlannedRun(**{**vars(run), "config": gone}))
    assert isinstance(found, str) and "gone" in found
    assert read_row(run) is None
