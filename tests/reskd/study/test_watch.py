from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dali_pipes.jobs.map_files import always_ready
from reskd.study.plan import StudyPlan, plan_study
from reskd.study.runner import run_study
from reskd.study.watch import describe_running, watching
from reskd.training.run_lock import LOCK_NAME
from tests.reskd.study.tiny_study import tiny_study


def begun(plan: StudyPlan, arm: str, cell: str, *lines: str, lock_age_s: float = 0) -> None:
    folder = plan.runs[plan.cells[arm, (cell,)]].folder
    folder.mkdir(parents=True)
    (folder / LOCK_NAME).write_text("{}")
    written = time.time() - lock_age_s
    os.utime(folder / LOCK_NAME, (written, written))
    (folder / "metrics.jsonl").write_text("".join(lines))


def test_each_run_in_progress_is_named_with_its_epoch(tmp_path: Path) -> None:
    plan = plan_study(tiny_study(tmp_path))
    runs, now = plan.in_order(), time.time()
    epochs = runs[0].config.training.epochs
    assert describe_running(plan, runs, since_s=now - 5) == ""
    begun(
        plan, "teacher", "1", '{"step": 1, "train/epoch": 0.5}\n', '{"step": 2, "train/epoch": 1.25, "val/gap": 0.5}\n'
    )
    begun(plan, "baseline", "2")
    begun(plan, "baseline", "1", '{"step": 1, "train/epoch": 1.0}\n', '{"step": 2, "train/ep')  # half a line so far
    begun(plan, "student", "1", lock_age_s=100)  # of a process that was killed before
    found = describe_running(plan, runs, since_s=now - 5).split("; ")
    assert sorted(found) == [
        f"baseline 1: epoch 1.0 of {epochs:g}",
        "baseline 2: starting",
        f"teacher 1: epoch 1.2 of {epochs:g}, val gap 0.500",
    ]


def test_the_thread_ends_with_its_block_and_leaves_out_what_is_done(tmp_path: Path) -> None:
    plan, told, done = plan_study(tiny_study(tmp_path)), list[str](), set[str]()
    begun(plan, "teacher", "1")
    with watching(plan, plan.in_order(), done, told.append, every_s=0.01):
        _wait_until(lambda: bool(told))
        done.add(plan.cells["teacher", ("1",)])
    count = len(told)
    time.sleep(0.05)
    assert set(told) == {"teacher 1: starting"} and len(told) == count
    with watching(plan, plan.in_order(), done, told.append, every_s=0.01):
        time.sleep(0.05)
    assert len(told) == count


def _wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("nothing came in 30 s")


def _is_there(lines: list[str], start: str) -> bool:
    return any(line.startswith(start) for line in lines)


def test_a_study_tells_of_its_runs_while_they_work(tmp_path: Path, monkeypatch: Any) -> None:
    plan, told, shown = plan_study(tiny_study(tmp_path)), list[str](), list[tuple[int, int]]()
    monkeypatch.setattr("reskd.study.watch.watching.__wrapped__.__kwdefaults__", {"every_s": 0.01})

    def engine(
        work: Callable[[Any], Any], items: Sequence[Any], *, ready: Callable[[Any], bool] = always_ready
    ) -> Iterator[tuple[Any, Any]]:
        """Every run takes the lock of its folder, writes a line, and dies."""
        for item in items:
            if ready(item):
                begun(plan, item.arm, str(item.config.seed), '{"step": 1, "train/epoch": 0.5}\n')
                start = f"{item.arm} {item.config.seed}: epoch "  # "starting" may come before the line is written
                _wait_until(partial(_is_there, told, start))
                (item.folder / LOCK_NAME).unlink()
                yield item, None

    run_study(plan, engine=engine, on_progress=lambda *count: shown.append(count), on_running=told.append)
    assert shown[0] == (0, 6) and len(shown) == 5  # the students need a teacher
    assert any(line.startswith("teacher 2: epoch 0.5 of ") for line in told)
