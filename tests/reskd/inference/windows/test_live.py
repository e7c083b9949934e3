"""reskd predict --stream: a line of JSON a window, a sentence at the end of the stream, a clean end at Ctrl-C."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from pathlib import Path

import pytest
import torch

from dali_pipes.single_pass import live_windows
from reskd.cli import run_tool
from reskd.commands import predict
from reskd.inference.student import TrainedStudent, load_trained_student
from reskd.inference.windows.live import answer_stream
from tests.conftest import numbered_clip
from tests.dali_pipes.single_pass.test_live_windows import fed_pipe
from tests.tiny_student import CLASSES, write_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("run") / "last.pt")


@pytest.fixture(scope="module")
def student(checkpoint: Path) -> TrainedStudent:
    return load_trained_student(checkpoint, torch.device("cpu"))


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return numbered_clip(tmp_path_factory.mktemp("stream") / "a.ts", "libx264", 40).read_bytes()


def test_each_window_is_a_line_until_the_pipe_ends(
    student: TrainedStudent, content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines: list[str] = []
    with fed_pipe(tmp_path / "pipe", content) as source, caplog.at_level(logging.INFO):
        answer_stream(student, source, (0.4, None), top=2, timeout_s=20, retries=3, write=lines.append)
    found = [json.loads(line) for line in lines]
    assert 1 <= len(found) <= 4 and f"ended after {len(found)} windows (40 frames" in caplog.text
    for one in found:
        assert one["file"] == source and one["end"] == pytest.approx(one["start"] + 0.4) and one["frames"] == 10
        assert len(one["answers"]) == 2 and one["answers"][0]["class"] in CLASSES
        assert all(list(answer) == ["class", "score", "logit"] for answer in one["answers"])
        assert datetime.fromisoformat(one["time"]).tzinfo is not None
        assert one["connection"] == 1 and one["dropped_frames"] >= 0


def test_ctrl_c_ends_in_order(
    student: TrainedStudent, content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupted(line: str) -> None:
        raise KeyboardInterrupt

    caplog.set_level(logging.INFO)
    with fed_pipe(tmp_path / "pipe", content) as source:
        answer_stream(student, source, (0.4, None), top=1, timeout_s=20, retries=0, write=interrupted)
    assert "ended by Ctrl-C after 0 windows" in caplog.text


def test_bad_options_are_one_sentence_each(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_windows, "_LONGEST_WAIT_S", 0.0)
    camera, closed = ["--stream", "rtsp://camera/1"], ["--stream", "tcp://u:secret@127.0.0.1:1"]
    cases = {
        "--stream: expected --windows SECONDS": camera,
        "--stream: expected no videos": ["a.mp4", *camera, "--windows", "1"],
        "--stream: expected no chart": [*camera, "--windows", "1", "--chart", "a.svg"],
        "after 0 windows (0 frames, 0 of them dropped, 0 connections): Connection refused": [*closed, "--windows", "1"],
        "--clips is for whole videos": [*camera, "--windows", "1", "--clips", "2"],
    }
    for said, given in cases.items():
        assert run_tool(predict.main, [str(checkpoint), *given]) == 1
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert said in line and "secret" not in line
