from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from reskd.study.archive import read_archive, write_archive
from reskd.study.page.page import render_page
from reskd.study.plan import StudyPlan, plan_study
from reskd.study.runner import known_rows, run_study
from reskd.study.summary import summarize_study
from tests.reskd.study.test_runner import in_this_process
from tests.reskd.study.tiny_study import tiny_study


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyPlan, Path]:
    """A study that is done, and its archive; the folders of its runs are gone."""
    plan = plan_study(tiny_study(tmp_path_factory.mktemp("study")))
    rows = run_study(plan, engine=in_this_process)
    path = plan.study.runs / "results.zip"
    assert write_archive(plan, rows, path) == 6
    shutil.copytree(plan.study.runs / "study_results", plan.study.runs / "as_it_was")
    shutil.rmtree(plan.study.runs / "study_runs")
    return plan, path


def _elsewhere(plan: StudyPlan, folder: Path, **changes: Any) -> StudyPlan:
    return plan_study(plan.study.model_copy(update={"runs": folder, **changes}))


def test_the_report_made_from_an_archive_elsewhere_is_the_same(done: tuple[StudyPlan, Path], tmp_path: Path) -> None:
    plan, path = done
    other = _elsewhere(plan, tmp_path)
    assert read_archive(other, path) == 6
    assert read_archive(other, path) == 0
    pages = [render_page(summarize_study(one, known_rows(one), command="x")) for one in (plan, other)]
    assert pages[0] == pages[1]
    assert "curve" in pages[0]
    assert write_archive(other, known_rows(other), tmp_path / "a new folder" / "again.zip") == 6
    assert (tmp_path / "a new folder" / "again.zip").read_bytes() == path.read_bytes()


def test_nothing_says_on_which_kernel_the_runs_were(done: tuple[StudyPlan, Path]) -> None:
    with zipfile.ZipFile(done[1]) as archive:
        rows = [json.loads(archive.read(name)) for name in archive.namelist() if name.endswith(".json")]
    assert all("kernel" not in row["environment"] and row["environment"]["python"] for row in rows)


def test_a_study_goes_on_from_an_archive_and_makes_a_teacher_again_that_a_new_run_needs(
    done: tuple[StudyPlan, Path], tmp_path: Path
) -> None:
    plan, path = done
    loss = {"stages.student.loss.embedding.alpha": 3}
    wider = _elsewhere(plan, tmp_path, axes={**plan.study.axes, "alpha": {"as it is": {}, "3": loss}})
    wider = plan_study(wider.study)
    assert read_archive(wider, path) == 6
    made: list[str] = []
    rows = run_study(wider, engine=in_this_process, on_progress=lambda number, total: made.append(f"{number}/{total}"))
    assert made == [f"{number}/4" for number in (1, 2, 3, 4)]  # two teachers and two students
    assert {row["status"] for row in rows.values()} == {"done"}


def test_results_that_are_here_stay_and_those_of_other_settings_are_left(
    done: tuple[StudyPlan, Path], tmp_path: Path
) -> None:
    plan, path = done
    other = _elsewhere(plan, tmp_path, settings={"optimizer.lr": 0.5})
    assert read_archive(other, path) == 0
    assert not any(tmp_path.iterdir())
    assert read_archive(plan, path) == 0


@pytest.mark.parametrize("damage", ["cut", "byte", "text", "row", "scores"])
def test_a_damaged_archive_is_named_and_nothing_is_taken(
    done: tuple[StudyPlan, Path], tmp_path: Path, damage: str
) -> None:
    plan, path = done
    bad, data = tmp_path / "bad.zip", bytearray(path.read_bytes())
    if damage == "cut":
        bad.write_bytes(data[: len(data) // 2])
    elif damage == "byte":
        data[200] ^= 255
        bad.write_bytes(data)
    elif damage == "text":
        bad.write_text("not a zip")
    else:
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(bad, "w") as changed:
            for name in archive.namelist():
                is_changed = name.endswith(".json" if damage == "row" else ".npz")
                changed.writestr(name, "{}" if is_changed else archive.read(name))
    other = _elsewhere(plan, tmp_path / "runs")
    with pytest.raises(ValueError, match=r"bad\.zip: expected the archive of a study"):
        read_archive(other, bad)
    assert not (tmp_path / "runs").exists()
    with pytest.raises(FileNotFoundError, match="expected the archive of a study at"):
        read_archive(other, tmp_path / "none.zip")
