"""Many videos into a CSV file: killed anywhere, the same command goes on to the same file."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from reskd.cli import run_tool
from reskd.commands import predict
from reskd.inference import bulk
from reskd.inference.answers import NoAnswer
from tests.conftest import numbered_clip
from tests.tiny_student import CLASSES, write_checkpoint

NUM_VIDEOS = 10


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("run") / "last.pt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(NUM_VIDEOS):
        numbered_clip(folder / f"{number}.mp4", "libx264", 5 + number, tint=9 * number)
    (folder / "3.mp4").write_bytes(b"no video")
    return folder


def arguments(checkpoint: Path, output: Path, *given: Path | str) -> list[str]:
    return [str(checkpoint), *map(str, given), "--output", str(output), "--top", "2"]


def answered_now(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are answered from now on."""
    names: list[str] = []
    answer_videos = bulk.answer_videos

    def noted(student: object, todo: Sequence[str], *rest: object, **more: object) -> object:
        names.extend(Path(file).name for file in todo)
        return answer_videos(student, todo, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(bulk, "answer_videos", noted)
    return names


def test_answers_of_another_temperature_are_others(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "answers.csv"
    assert run_tool(predict.main, arguments(checkpoint, output, folder / "0.mp4")) == 0
    assert run_tool(predict.main, [*arguments(checkpoint, output, folder / "0.mp4"), "--temperature", "3"]) == 1


@pytest.fixture(scope="module")
def whole(checkpoint: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("whole") / "answers.csv"
    assert run_tool(predict.main, arguments(checkpoint, output, folder, folder / "none.mp4")) == 0
    return output


def test_the_rows_are_the_files_in_order(whole: Path) -> None:
    with whole.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["file"]).name for row in rows] == ["none.mp4", *(f"{n}.mp4" for n in range(NUM_VIDEOS))]
    assert rows[0]["error"] == "no such file" and rows[4]["error"].startswith("does not open")
    good = [row for row in rows if not row["error"]]
    assert len(good) == NUM_VIDEOS - 1
    assert all({row["class_1"], row["class_2"]} < set(CLASSES) for row in good)
    assert all(float(row["score_1"]) >= float(row["score_2"]) > 0 for row in good)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_writes_the_same_file(
    checkpoint: Path, folder: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "answers.csv"
    given = arguments(checkpoint, output, folder, folder / "none.mp4")
    journal = bulk.journal_of(output)
    with subprocess.Popen([sys.executable, "-m", "reskd", "predict", *given], start_new_session=True) as running:
        while running.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") >= 2):
            time.sleep(0.01)
        os.killpg(running.pid, signal.SIGKILL)
    assert not output.exists()
    num_before = journal.read_bytes().count(b"\n") - 1
    assert 0 < num_before <= NUM_VIDEOS  # all, where this process is not asked in time
    with journal.open("ab") as file:
        file.write(b'{"file": "cut sho')
    now = answered_now(monkeypatch)
    assert run_tool(predict.main, given) == 0
    assert len(now) == NUM_VIDEOS - num_before
    assert output.read_bytes() == whole.read_bytes()


def test_a_finished_run_answers_only_what_is_new_or_changed(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    videos, output = tmp_path / "videos", tmp_path / "answers.csv"
    videos.mkdir()
    numbered_clip(videos / "b.mp4", "libx264", 5)
    numbered_clip(videos / "c.mp4", "libx264", 5)
    now = answered_now(monkeypatch)
    for added in (None, "a.mp4", "c.mp4"):
        now.clear()
        if added:
            numbered_clip(videos / added, "libx264", 6, tint=50)
        assert run_tool(predict.main, arguments(checkpoint, output, videos)) == 0
        assert now == ([added] if added else ["b.mp4", "c.mp4"])
    assert "3 videos, 2 of them answered before" in capsys.readouterr().out
    assert [row["file"] for row in csv.DictReader(output.open())] == [str(videos / f"{name}.mp4") for name in "abc"]


def test_another_student_and_other_settings_are_refused(
    checkpoint: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "answers.csv"
    video = folder / "0.mp4"
    assert run_tool(predict.main, arguments(checkpoint, output, video)) == 0
    before = output.read_bytes()
    other = write_checkpoint(tmp_path / "other.pt", state={"num_steps": 2})
    assert run_tool(predict.main, arguments(other, output, video)) == 1
    assert run_tool(predict.main, [*arguments(checkpoint, output, video), "--clips", "2"]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2 and all("expected answers of this student and these settings" in line for line in errors)
    assert "(student " in errors[0] and "(clips 1, now 2)" in errors[1]
    assert output.read_bytes() == before


def test_bad_outputs_are_one_sentence_each(
    checkpoint: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, output = folder / "0.mp4", tmp_path / "answers.csv"
    bulk.journal_of(output).write_text("a diary\n")
    cases = {
        "expected a journal of reskd predict": arguments(checkpoint, output, video),
        "--output: expected a folder at": arguments(checkpoint, tmp_path / "none" / "a.csv", video),
        "--json: expected none with --output": [*arguments(checkpoint, tmp_path / "b.csv", video), "--json"],
        "--list: expected a list of videos at": [*arguments(checkpoint, tmp_path / "c.csv"), "--list", "none.txt"],
    }
    for said, given in cases.items():
        assert run_tool(predict.main, given) == 1
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert said in line


def test_two_runs_do_not_write_one_file(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "answers.csv.journal"
    with (
        bulk.open_journal(path, {}),
        pytest.raises(ValueError, match="expected no other run"),
        bulk.open_journal(path, {}),
    ):
        pass


def test_a_list_is_answered_in_its_order(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "some.txt").write_text("path,label\n5.mp4,up\n0.mp4,left\n")
    output = tmp_path / "answers.csv"
    listed = ["--list", str(tmp_path / "some.txt"), "--root", str(folder)]
    assert run_tool(predict.main, [*arguments(checkpoint, output), *listed]) == 0
    named = [str(folder / "5.mp4"), str(folder / "0.mp4")]
    assert [row["file"] for row in csv.DictReader(output.open())] == named
    lines = bulk.journal_of(output).read_text().splitlines()
    assert [json.loads(line).get("file") for line in lines[1:]] == named


def test_a_file_without_an_answer_is_tried_again(
    checkpoint: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decoder's process died, the disk was away, ...: the file itself is the same."""
    output, answer_videos = tmp_path / "answers.csv", bulk.answer_videos

    def once_in_vain(student: Any, todo: Sequence[str], *rest: Any, **more: Any) -> Any:
        for found in answer_videos(student, todo, *rest, **more):
            yield NoAnswer(found.file, "the decoder's process died") if found.file.endswith("1.mp4") else found

    given = [folder / "0.mp4", folder / "1.mp4"]
    with monkeypatch.context() as patched:
        patched.setattr(bulk, "answer_videos", once_in_vain)
        assert run_tool(predict.main, arguments(checkpoint, output, *given)) == 0
    names = answered_now(monkeypatch)
    assert run_tool(predict.main, arguments(checkpoint, output, *given)) == 0
    assert names == ["1.mp4"]
    assert [row["error"] for row in csv.DictReader(output.open())] == ["", ""]
