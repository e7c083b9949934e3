"""reskd predict --windows: lines, CSV, chart and annotated copy of long videos; bad input in a sentence."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import av
import pytest
import torch

from reskd.cli import run_tool
from reskd.commands import predict
from reskd.inference.student import load_trained_student
from reskd.inference.videos import answer_videos
from tests.conftest import numbered_clip
from tests.dali_pipes.single_pass.test_windows import write_timed
from tests.tiny_student import CLASSES, write_checkpoint, write_feature_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("run") / "last.pt")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbered_clip(tmp_path_factory.mktemp("videos") / "a.mp4", "libx264", 60)


def run(*arguments: object) -> int:
    return run_tool(predict.main, list(map(str, arguments)))


def test_a_csv_a_chart_and_a_copy_come_from_one_command(checkpoint: Path, video: Path, tmp_path: Path) -> None:
    files = {name: tmp_path / f"out.{name}" for name in ("csv", "svg", "mp4")}
    options = ["--output", files["csv"], "--chart", files["svg"], "--annotated", files["mp4"], "--top", 2]
    assert run(checkpoint, video, "--windows", 1, "--stride", 0.5, *options) == 0
    rows = list(csv.DictReader(files["csv"].open()))
    assert [(row["start"], row["end"]) for row in rows] == [
        ("0.000", "1.000"),
        ("0.500", "1.500"),
        ("1.000", "2.000"),
        ("1.500", "2.400"),
    ]
    assert all(row["file"] == str(video) and {row["class_1"], row["class_2"]} < set(CLASSES) for row in rows)
    svg = ElementTree.fromstring(files["svg"].read_text())
    texts = [element.text for element in svg.iter() if element.tag.endswith("text")]
    assert str(video)[:20] in str(texts[0]) and {row["class_1"] for row in rows} < set(texts)
    with av.open(str(files["mp4"])) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 60 and (frames[0].width, frames[0].height) == (128, 96)
    assert float(frames[-1].time) == pytest.approx(59 / 25, abs=1e-3)
    bar = frames[30].to_ndarray(format="rgb24")[-8:]
    assert bar.max() > 180 and (bar < 70).mean() > 0.4  # white letters on a dark bar


def test_a_copy_keeps_the_times_of_a_variable_rate(checkpoint: Path, tmp_path: Path) -> None:
    path = write_timed(tmp_path / "a.mkv", [0, 100, 130, 1500])
    assert run(checkpoint, path, "--windows", 1, "--annotated", tmp_path / "b.mp4") == 0
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert [float(frame.time) for frame in container.decode(video=0)] == pytest.approx(
            [0, 0.1, 0.13, 1.5], abs=2e-3
        )


def test_one_window_over_a_video_has_the_answer_of_predict(
    checkpoint: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(checkpoint, video, "--windows", 10, "--json", "--top", 3) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert (found["file"], found["start"], found["end"], found["frames"]) == (str(video), 0, 2.4, 60)
    student = load_trained_student(checkpoint, torch.device("cpu"))
    (expected,) = answer_videos(student, [video])
    top = student.top(expected.scores_K, 3)  # type: ignore[union-attr]
    assert [(answer["class"], answer["score"]) for answer in found["answers"]] == top


def test_windows_have_the_keys_of_whole_videos_and_more(
    checkpoint: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [checkpoint, video, tmp_path / "none.mp4", "--json", "--top", 2]
    lines = {}
    for name, options in (("whole", []), ("windows", ["--windows", 10])):
        assert run(*given, *options) == 0
        lines[name] = {line["file"]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    whole, windows = lines["whole"], lines["windows"]
    missing = str(tmp_path / "none.mp4")
    assert windows[missing] == whole[missing] == {"file": missing, "error": "no such file"}
    assert windows[str(video)].keys() - whole[str(video)].keys() == {"start", "end", "frames", "damaged"}
    assert whole[str(video)].keys() < windows[str(video)].keys()
    for one, other in zip(whole[str(video)]["answers"], windows[str(video)]["answers"], strict=True):
        assert list(one) == list(other) == ["class", "score", "logit"] and one["class"] == other["class"]
        assert one["logit"] == pytest.approx(other["logit"], abs=1e-5)


def test_a_video_that_is_none_is_named_and_the_others_have_windows(
    checkpoint: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    given = [tmp_path / "none.mp4", tmp_path / "bad.mp4", video]
    assert run(checkpoint, *given, "--windows", 1, "--output", tmp_path / "out.csv") == 0
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [row["error"] for row in rows[:3]] == [
        "no such file",
        "does not open: Invalid data found when processing input",
        "",
    ]
    assert "1 answered, 2 not" in capsys.readouterr().err
    assert run(checkpoint, *given, "--windows", 1, "--strict") == 1


def test_bad_options_are_one_sentence_each(
    checkpoint: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features = write_feature_checkpoint(tmp_path / "features.pt", root=tmp_path)
    cases = {
        "--stride is for windows of time": [checkpoint, video, "--stride", 1],
        "--chart is for windows of time": [checkpoint, video, "--chart", tmp_path / "a.svg"],
        "--clips is for whole videos": [checkpoint, video, "--windows", 1, "--clips", 2],
        "--annotated: expected one video, found 2": [
            *(checkpoint, video, numbered_clip(tmp_path / "b.mp4", "libx264", 3)),
            *("--windows", 1, "--annotated", tmp_path / "c.mp4"),
        ],
        "--windows is for videos": [features, video, "--windows", 1],
        "--chart: expected a folder at": [checkpoint, video, "--windows", 1, "--chart", tmp_path / "none" / "a.svg"],
    }
    for said, given in cases.items():
        assert run(*given) == 1
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert said in line, line
