"""The study as a user runs it, on a few synthetic videos: rows, nothing run twice, tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fewer_frames import run as study_fewer_frames
from reskd.cli import run_tool
from reskd.profiling.measurement_rows import read_rows


def test_a_quick_study_runs_once_and_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv, times = tmp_path / "rows.csv", tmp_path / "times.csv"
    few = ["--families", "netvlad", "--k", "6", "--seeds", "1", "--selections", "uniform", "last", "--quick"]
    where = ["--synthetic", str(tmp_path / "data"), *few]
    run = ["run", *where, "--runs", str(tmp_path / "runs"), "--csv", str(csv)]
    assert run_tool(study_fewer_frames.main, run) == 0
    rows = read_rows(csv)
    assert [(row["mode"], row["selection"], row["k"]) for row in rows] == [
        ("teacher", "uniform", "all"),
        ("baseline", "uniform", "6"),
        ("baseline", "last", "6"),
        ("serial", "uniform", "6"),
        ("parallel", "uniform", "6"),
    ]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["synthetic-quick-netvlad-teacher-all-s1"]
    assert {row["data"] for row in rows} == {"synthetic-quick"}
    assert all(float(row["train_seconds"]) > 0 for row in rows)
    assert float(rows[1]["mmacs"]) < float(rows[0]["mmacs"])
    assert run_tool(study_fewer_frames.main, run) == 0
    assert "5 runs, 0 of them now" in capsys.readouterr().out
    anew = tmp_path / "anew.csv"  # the teacher's checkpoint is there, so its run goes on
    assert run_tool(study_fewer_frames.main, [*run[:-1], str(anew), "--selections", "last"]) == 0
    times_known = {row["mode"]: (row["train_seconds"] != "", row["train_cpu_seconds"] != "") for row in read_rows(anew)}
    assert times_known == {"teacher": (False, False)} | dict.fromkeys(("baseline", "serial", "parallel"), (True, True))
    assert read_rows(anew)[0]["gap"] == rows[0]["gap"]
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    assert run_tool(study_fewer_frames.main, [*run[:-1], str(other)]) == 1
    assert "expected the columns" in capsys.readouterr().err
    assert run_tool(study_fewer_frames.main, ["time", *where, "--rounds", "1", "--csv", str(times)]) == 0
    none = ["--pixels", str(tmp_path / "none.csv")]
    assert run_tool(study_fewer_frames.main, ["report", "--csv", str(csv), "--times", str(times), *none]) == 0
    assert "| serial, uniform |" in capsys.readouterr().out
    assert (tmp_path / "rows_macs.png").exists()
    assert (tmp_path / "rows_time.png").exists()


def test_quick_rows_go_nowhere_near_the_results() -> None:
    parse = study_fewer_frames.build_parser().parse_args
    for command, default in (("run", study_fewer_frames.ROWS), ("time", study_fewer_frames.TIMES)):
        assert study_fewer_frames._csv(parse([command]), default) == default
        assert study_fewer_frames._csv(parse([command, "--quick"]), default) == Path("runs") / f"quick_{default.name}"
        assert study_fewer_frames._csv(parse([command, "--quick", "--csv", "a.csv"]), default) == Path("a.csv")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "expected data: --synthetic FOLDER, --ucf10 FOLDER or both, found neither"),
        (["run", "--ucf10", "nowhere"], "expected features of reskd prepare extract-features in nowhere"),
        (["report", "--csv", "no.csv", "--pixels", "none.csv"], "expected rows in no.csv or none.csv, found neither"),
    ],
)
def test_missing_data_is_told_in_a_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_tool(study_fewer_frames.main, arguments) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--weights", "0", "1"], ["--synthetic-seed", "0"]])
def test_rows_of_other_settings_go_into_a_file_of_their_own(
    option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_tool(study_fewer_frames.main, ["run", "--synthetic", str(tmp_path), *option]) == 1
    assert "expected --csv with a file for these rows alone" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
