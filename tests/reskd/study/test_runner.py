from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dali_pipes.jobs.map_files import Engine, always_ready
from reskd.study.plan import StudyPlan, plan_study
from reskd.study.runner import describe_plan, known_rows, run_study, study_folder
from reskd.study.work import results_of, scores_path
from reskd.training.checkpoint import load_checkpoint, save_checkpoint
from reskd.training.run_lock import RunLock
from tests.reskd.study.tiny_study import tiny_study


def in_this_process(
    work: Callable[[Any], Any], items: Sequence[Any], *, ready: Callable[[Any], bool] = always_ready
) -> Iterator[tuple[Any, Any]]:
    """An engine that needs no other process."""
    for item in items:
        if ready(item):
            yield item, work(item)


def noting_engine() -> tuple[list[str], Engine]:
    """A list, and an engine that adds the arm of each run that it has done to it."""
    arms: list[str] = []

    def noting(work: Callable[[Any], Any], items: Sequence[Any], **how: Any) -> Iterator[tuple[Any, Any]]:
        for item, row in in_this_process(work, items, **how):
            arms.append(item.arm)
            yield item, row

    return arms, noting


def _of_arm(plan: StudyPlan, arm: str, *cell: str) -> str:
    return plan.cells[arm, cell or ("1",)]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyPlan, dict[str, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("study")
    shown = {"shown": {"weights": "teacher", "view": "baseline"}}
    plan = plan_study(tiny_study(folder, also_scored=shown))
    return plan, run_study(plan, engine=in_this_process)


def test_every_run_gets_a_row_and_the_scores_of_each_video(done: tuple[StudyPlan, dict[str, dict[str, Any]]]) -> None:
    plan, rows = done
    assert {row["status"] for row in rows.values()} == {"done"}
    assert len(rows) == 8
    lines = [json.loads(line) for line in (study_folder(plan) / "results.jsonl").read_text().splitlines()]
    assert [line["run"] for line in lines] == list(plan.runs)
    row = rows[_of_arm(plan, "student")]
    scores = np.load(scores_path(plan.runs[row["run"]]))
    assert scores["logits_NK"].shape == (24, 3)
    assert len(set(scores["videos"].tolist())) == 24
    assert row["metrics"]["map"] > 0
    assert row["gmacs_per_video"] > 0


def test_checkpoints_that_nothing_needs_are_deleted(done: tuple[StudyPlan, dict[str, dict[str, Any]]]) -> None:
    plan, _ = done
    found = {arm: (plan.runs[_of_arm(plan, arm)].folder / "last.pt").exists() for arm in ("teacher", "student")}
    assert found == {"teacher": True, "student": False}


def test_scores_of_weights_on_another_view_are_others(done: tuple[StudyPlan, dict[str, dict[str, Any]]]) -> None:
    plan, _ = done
    one, other = (np.load(scores_path(plan.runs[_of_arm(plan, arm)])) for arm in ("teacher", "shown"))
    assert one["videos"].tolist() == other["videos"].tolist()
    assert not np.array_equal(one["logits_NK"], other["logits_NK"])


def test_what_is_done_is_not_done_again(
    done: tuple[StudyPlan, dict[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, rows = done
    monkeypatch.setattr("reskd.study.runner.do_run", lambda *rest: pytest.fail(f"does {rest}"))
    again = run_study(plan, engine=in_this_process)
    assert again == rows == known_rows(plan)
    assert describe_plan(plan, rows)[0].startswith("tiny: 8 runs, 8 of them done")


def test_a_teacher_whose_weights_are_gone_is_trained_again_once_a_student_needs_it(tmp_path: Path) -> None:
    plan = plan_study(tiny_study(tmp_path, axes={"seed": [1]}, compare=[], recovery=[]))
    rows = run_study(plan, engine=in_this_process)
    last = plan.runs[_of_arm(plan, "teacher")].folder / "last.pt"
    last.unlink()
    assert run_study(plan, engine=in_this_process) == rows
    assert not last.exists()
    scores_path(plan.runs[_of_arm(plan, "student")]).unlink()
    assert run_study(plan, engine=in_this_process).keys() == rows.keys()
    assert last.exists()


def test_a_teacher_that_was_made_again_halfway_is_trained_to_its_end_before_a_student_learns(tmp_path: Path) -> None:
    plan = plan_study(tiny_study(tmp_path, axes={"seed": [1]}, compare=[], recovery=[]))
    rows = run_study(plan, engine=in_this_process)
    teacher = plan.runs[_of_arm(plan, "teacher")].folder / "last.pt"
    whole = load_checkpoint(teacher)
    made, noting = noting_engine()

    scores_path(plan.runs[_of_arm(plan, "student")]).unlink()
    save_checkpoint(teacher, {**whole, "num_steps": whole["total_steps"] - 1})
    again = run_study(plan, engine=noting)
    assert made == ["teacher", "student"]
    assert load_checkpoint(teacher)["num_steps"] == whole["total_steps"]
    assert {row["status"] for row in again.values()} == {row["status"] for row in rows.values()} == {"done"}
    scores_path(plan.runs[_of_arm(plan, "student")]).unlink()
    teacher.write_bytes(teacher.read_bytes()[:-100])
    damaged = run_study(plan, engine=in_this_process)
    assert str(teacher) in damaged[_of_arm(plan, "teacher")]["reason"]
    assert damaged[_of_arm(plan, "student")]["status"] == "not run"


def test_a_run_that_diverges_is_marked_and_the_others_go_on(tmp_path: Path) -> None:
    settings = {"stages.teacher.optimizer.lr": 1e12, "stages.teacher.optimizer.name": "sgd"}
    plan = plan_study(tiny_study(tmp_path, axes={"seed": [1]}, settings=settings))
    rows = run_study(plan, engine=in_this_process)
    teacher, student, baseline = (rows[_of_arm(plan, arm)] for arm in ("teacher", "student", "baseline"))
    assert (teacher["status"], student["status"], baseline["status"]) == ("diverged", "not run", "done")
    assert teacher["run"] in student["reason"]
    assert "metrics" not in teacher
    tried, noting = noting_engine()
    run_study(plan, engine=noting)
    assert tried == []
    run_study(plan, engine=noting, retry=True)
    assert tried == ["teacher"]


def test_a_run_that_fails_is_marked_with_its_reason_and_tried_again(tmp_path: Path) -> None:
    plan = plan_study(tiny_study(tmp_path, axes={"seed": [1]}))
    data = tmp_path / "test.tfrecord"
    data.rename(tmp_path / "gone")
    rows = run_study(plan, engine=in_this_process)
    assert {row["status"] for row in rows.values()} == {"failed", "not run"}
    assert "test.tfrecord" in rows[_of_arm(plan, "baseline")]["reason"]
    assert "Traceback" in (results_of(plan.runs[_of_arm(plan, "baseline")]) / "log.txt").read_text()
    (tmp_path / "gone").rename(data)
    rows = run_study(plan, engine=in_this_process)
    assert {row["status"] for row in rows.values()} == {"done"}


def test_a_process_that_dies_marks_its_run_alone(tmp_path: Path) -> None:
    plan = plan_study(tiny_study(tmp_path, axes={"seed": [1]}))

    def dying(work: Callable[[Any], Any], items: Sequence[Any], **_: Any) -> Iterator[tuple[Any, Any]]:
        for item in items:
            yield item, None if item.arm == "baseline" else work(item)

    rows = run_study(plan, engine=dying)
    found = {arm: rows[_of_arm(plan, arm)]["status"] for arm in ("teacher", "baseline", "student")}
    assert found == {"teacher": "done", "baseline": "died", "student": "done"}


def test_best_weights_without_a_validation_are_named(tmp_path: Path) -> None:
    settings = {"data.val_fraction": 0.0}
    plan = plan_study(tiny_study(tmp_path, axes={"seed": [1]}, settings=settings, checkpoint="best"))
    rows = run_study(plan, engine=in_this_process)
    assert "expected best.pt" in rows[_of_arm(plan, "baseline")]["reason"]


def test_two_processes_on_one_study_are_refused(tmp_path: Path) -> None:
    plan = plan_study(tiny_study(tmp_path, axes={"seed": [1]}))
    lock = RunLock(study_folder(plan))
    lock.take()
    try:
        with pytest.raises(OSError, match=str(os.getpid())):
            run_study(plan, engine=in_this_process)
    finally:
        lock.release()


def test_a_result_stays_where_making_the_run_again_for_its_weights_fails(tmp_path: Path) -> None:
    plan = plan_study(tiny_study(tmp_path, axes={"seed": [1]}))
    run_study(plan, engine=in_this_process)
    teacher, student = (plan.runs[_of_arm(plan, arm)] for arm in ("teacher", "student"))
    (teacher.folder / "last.pt").unlink()
    scores_path(student).unlink()
    before = known_rows(plan)[teacher.name]
    (tmp_path / "train.tfrecord").unlink()
    rows = run_study(plan, engine=in_this_process)
    assert (rows[teacher.name]["status"], rows[student.name]["status"]) == ("failed", "not run")
    assert known_rows(plan)[teacher.name] == before
