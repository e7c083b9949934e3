"""Training, resuming, evaluating, predicting and measuring with the tools, on a GPU where there is one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from reskd.cli import run_tool
from reskd.commands import evaluate, predict, train
from reskd.commands.profile import train as bench_train
from tests.devices import DEVICES
from tests.reskd.commands.test_train import CODECS, write_student_config


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_from_videos_to_answers(
    device: str, tmp_path: Path, make_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """On a GPU: H.264 through NVDEC where there is one, fp16, cuDNN's choice of kernels, two test views."""
    videos = make_folder(CODECS, num_frames=12)
    training = {"epochs": 2, "global_batch_size": 4, "log_every_steps": 1, "clip_norm": 20.0}
    training["precision"] = "fp16" if device == "cuda" else "fp32"
    config = str(write_student_config(tmp_path, videos, device=device, training=training))
    stage = tmp_path / "teacher.yaml"
    stage.write_text(stage.read_text().replace("device: cpu", f"device: {device}"))

    assert run_tool(train.main, [config]) == 0
    run = tmp_path / "runs" / "student"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(math.isfinite(line["loss/total"]) for line in lines)
    assert ("speed/gpu_memory_gib" in lines[-1]) == (device == "cuda")
    assert run_tool(train.main, [config]) == 0  # the whole run is there: its state is loaded and nothing is left to do

    views = ["data.sampling.test_clips=2", "data.sampling.test_crops=1"]
    assert run_tool(evaluate.main, [config, str(run / "last.pt"), *views]) == 0
    capsys.readouterr()
    assert run_tool(predict.main, [str(run / "last.pt"), str(videos), "--json", "--device", device]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert len(answers) == sum(map(len, CODECS.values()))

    rates = tmp_path / "rates.csv"
    measure = ["--stage", "student", "--steps", "1", "--rounds", "1", "--used-up", "1", "--csv", str(rates)]
    assert run_tool(bench_train.main, [config, *measure]) == 0
    assert len(rates.read_text().splitlines()) == 4
