from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dali_pipes.annotations.lists import read_list
from reskd.cli import run_tool
from reskd.commands.prepare_data import main
from tests.conftest import numbered_clip


@pytest.fixture()
def source(tmp_path: Path) -> Path:
    root = tmp_path / "old"
    (root / "Run").mkdir(parents=True)
    for number in (1, 2):
        numbered_clip(root / "Run" / f"v_{number}.avi", "mjpeg", 6)
    (root / "train.csv").write_text("path,label\nRun/v_1.avi,Run\nRun/v_2.avi,Run\n")
    return root


def test_transcode_predicts_writes_and_then_has_nothing_to_do(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["transcode", str(source), str(tmp_path / "new"), "--list", "train.csv", "--workers", "1"]
    assert run_tool(main, command) == 0
    out = capsys.readouterr().out
    assert "2 videos, 2 of them for this run, 2 still to do" in out
    assert "predicted from the first 100 frames of 2 of 2 files (12 frames encoded)" in out
    assert "disk: " in out and "of one core" in out and "frames decoded for a clip of 8: 6 now -> 6" in out
    assert "2 ok; 12 frames" in out and "list with the new names" in out
    assert (tmp_path / "new" / "train.csv").read_text() == "path,label\nRun/v_1.mp4,Run\nRun/v_2.mp4,Run\n"
    assert run_tool(main, command) == 0
    assert "0 still to do\n2 ok; 12 frames" in capsys.readouterr().out


def test_transcode_takes_the_format_of_another_tool_s_list(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new"
    (source / "list.txt").write_text("Run/v_1.avi 7\nRun/v_2.avi 7\n")
    command = ["transcode", str(source), str(new), "--list", "list.txt", "--workers", "1"]
    assert run_tool(main, [*command, "--predict-only"]) == 0
    assert "list.txt: read as UCF101's lists, the folder as the class" in capsys.readouterr().out
    assert run_tool(main, [*command, "--list-format", "numbers"]) == 0
    assert "list with the new names; read it with data.list_format=numbers" in capsys.readouterr().out
    assert (new / "list.txt").read_text() == "Run/v_1.mp4 7\nRun/v_2.mp4 7\n"
    assert [(video.path, *video.labels) for video in read_list(new, "list.txt", "numbers")] == [
        ("Run/v_1.mp4", "7"),
        ("Run/v_2.mp4", "7"),
    ]
    assert run_tool(main, [*command, "--list-format", "csv"]) == 1
    assert "expected a first line that names the columns" in capsys.readouterr().err


def test_transcode_of_a_folder_says_what_it_leaves_out(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source / "empty").mkdir()
    assert run_tool(main, ["transcode", str(source), str(tmp_path / "new"), "--workers", "1", "--predict-only"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "left out" in line)
    assert line == f"{source}: left out: 1 file with an unknown suffix (.csv 1), 1 empty folder (empty)"


def test_predict_only_writes_no_video(source: Path, tmp_path: Path) -> None:
    assert run_tool(main, ["transcode", str(source), str(tmp_path / "new"), "--workers", "1", "--predict-only"]) == 0
    assert not list((tmp_path / "new").iterdir())


def test_the_last_shard_writes_the_lists(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["transcode", str(source), str(tmp_path / "new"), "--list", "train.csv", "--workers", "1", "--shard"]
    for part in range(1, 9):
        assert not (tmp_path / "new" / "train.csv").exists()
        assert run_tool(main, [*command, f"{part}/8"]) == 0
        if (tmp_path / "new" / "train.csv").exists():
            break
        assert "of other shards are not finished" in capsys.readouterr().out
    assert (tmp_path / "new" / "train.csv").read_text().count(".mp4") == 2


def test_no_room_is_told_before_the_first_file(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    assert run_tool(main, ["transcode", str(source), str(tmp_path / "new"), "--workers", "1"]) == 1
    error = capsys.readouterr().err
    assert "expected space for about" in error and "found 0.0 MiB free" in error


@pytest.mark.parametrize(
    ("extra", "message"),
    [(["--shard", "3/2"], "expected I/N with I from 1 to N"), (["--workers", "0"], "expected a whole number of 1")],
)
def test_arguments_that_cannot_be_are_refused(
    extra: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["transcode", str(tmp_path), str(tmp_path / "new"), *extra])
    assert message in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_told(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run_tool(main, ["transcode", str(source), str(tmp_path / "file" / "new")]) == 1
    assert "not a directory" in capsys.readouterr().err


def test_describe_writes_a_page(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["describe", str(source), "--out", str(tmp_path / "page"), "--list", "train.csv", "--workers", "1"]
    assert run_tool(main, command) == 0
    assert str(tmp_path / "page" / "data.html") in capsys.readouterr().out
    assert "train.csv: 2 labels of 1 classes" in (tmp_path / "page" / "data.md").read_text()
    (source / "train.csv").write_text("path,label\nRun/gone.avi,Run\n")
    assert run_tool(main, command) == 1
    assert "found 1 of them missing: Run/gone.avi; check data.root" in capsys.readouterr().err


def test_scan_names_what_is_wrong_and_training_finds_it_done(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source / "Run" / "text.avi").write_text("no video")
    assert run_tool(main, ["scan", str(source), "--workers", "1", "--shard", "1/1"]) == 0
    shown = capsys.readouterr().out
    assert "Run/text.avi: bad: does not open" in shown and " have a packet index" in shown
    assert list((source / ".reskd_scan").glob("*.csv"))
    assert run_tool(main, ["scan", str(source), "--list", "no.csv"]) == 1
    assert "expected a list at" in capsys.readouterr().err
