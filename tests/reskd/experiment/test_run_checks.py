from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from dali_pipes.manifest.build import build_manifests
from reskd.experiment.config import load_config
from reskd.experiment.run_checks import check_config, check_run_disk, check_run_memory, check_run_time
from reskd.machine_checks import GIB
from tests.reskd.commands.test_train import write_config


def test_a_run_that_does_not_fit_is_a_problem() -> None:
    assert check_run_memory(20 * GIB, 16 * GIB, num_clips=64, where="the GPU").level == "PROBLEM"
    assert check_run_memory(15 * GIB, 16 * GIB, num_clips=64, where="the GPU").level == "NOTE"
    assert check_run_memory(5 * GIB, 16 * GIB, num_clips=64, where="the GPU").level == "OK"
    assert check_run_disk(GIB, 3, 3 * GIB).level == "PROBLEM"
    assert check_run_disk(GIB, 3, 5 * GIB).level == "OK"


def test_time_follows_the_speed() -> None:
    slow_decode = check_run_time(1 / 0.36, "decoding", num_clips=1000, epochs=10)
    assert "about 1.0 h" in slow_decode.text and "limited by decoding" in slow_decode.text
    short = check_run_time(1 / 0.072, "the networks", num_clips=1000, epochs=10)
    assert "about 12 min for 10 epochs" in short.text
    no_list = check_run_time(1 / 0.72, "the networks", num_clips=None, epochs=10)
    assert no_list.level == "NOTE" and "about 12 min for 1,000 clips" in no_list.text


def test_a_small_config_gets_memory_disk_and_hours(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(
        f"""
name: small
runs: {tmp_path}
device: cpu
data:
  root: {tmp_path}
  train: nothing.csv
  sampling: {{num_frames: 2}}
  views: {{teacher: {{size: 64}}, student: {{size: 32}}}}
student: {{backbone: resnet18}}
teacher: {{model: {{backbone: resnet18}}, batch_norm: batch_stats}}
loss: {{pixel: {{alpha: 100}}}}
optimizer: {{lr: 0.01}}
training: {{epochs: 2, global_batch_size: 4}}
"""
    )
    findings = {finding.topic: finding for finding in check_config(load_config(path))}
    assert set(findings) == {"data", "memory", "run's disk", "time"}
    assert findings["data"].level == "NOTE" and "nothing.csv" in findings["data"].text
    assert findings["memory"].level == "OK" and "4 clips at once" in findings["memory"].text


def test_fp16_on_a_cpu_is_timed_as_it_will_run(tmp_path: Path, make_folder: Callable[..., Path]) -> None:
    videos = make_folder({"left": ["libx264"] * 4, "right": ["libx264"] * 4}, num_frames=24)
    training = {"epochs": 1, "global_batch_size": 2, "precision": "fp16"}
    found = {
        one.topic: one for one in check_config(load_config(write_config(tmp_path, "x", videos, training=training)))
    }
    assert found["precision"].level == "NOTE" and "the time below is of fp16." in found["precision"].text


def test_a_list_that_is_there_gives_a_prediction_with_its_limit(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    videos = make_folder({"left": ["libx264"] * 4, "right": ["libx264"] * 4}, num_frames=24)
    config = load_config(write_config(tmp_path, "small", videos))
    findings = {finding.topic: finding for finding in check_config(config)}
    assert set(findings) == {"data", "memory", "run's disk", "speed", "time"}
    assert re.match(r"about \S+ clips/s a process, limited by ", findings["speed"].text)
    assert "frames are decoded for 2, by PyAV in 100 % of 16 clips" in findings["speed"].text
    limit = findings["speed"].text.partition("limited by ")[2].partition(" (")[0]
    assert findings["time"].text.endswith(f"; limited by {limit}.")


def test_what_a_training_would_refuse_is_a_problem_and_damaged_files_are_named(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    videos = make_folder({"left": ["libx264"] * 4, "right": ["libx264"] * 4}, num_frames=24)
    (videos / "left/broken.mp4").write_bytes(b"no video")
    config = load_config(write_config(tmp_path, "small", videos))
    build_manifests(config.clips, seed=1, splits=("train",))
    (damaged,) = [one for one in check_config(config) if one.topic == "damaged files"]
    assert damaged.level == "NOTE" and "left/broken.mp4: bad: " in damaged.text
    refused = load_config(write_config(tmp_path, "refused", videos), [r"data.group_pattern='_(\d+)_c\d'"])
    data = next(one for one in check_config(refused) if one.topic == "data")
    assert data.level == "PROBLEM"
    large = load_config(write_config(tmp_path, "large", videos), ["training.global_batch_size=64"])
    data_of_large = next(one for one in check_config(large) if one.topic == "data")
    assert data_of_large.level == "PROBLEM" and "training.global_batch_size = 64 is more than the" in data_of_large.text
    assert r"data.group_pattern _(\d+)_c\d to find" in data.text and "none in 9 of 9: " in data.text
