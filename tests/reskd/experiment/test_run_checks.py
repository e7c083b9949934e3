from __future__ import annotations

from pathlib import Path

from reskd.experiment.config import load_config
from reskd.experiment.run_checks import check_config, check_run_disk, check_run_memory, check_run_time
from reskd.machine_checks import GIB


def test_a_run_that_does_not_fit_is_a_problem() -> None:
    assert check_run_memory(20 * GIB, 16 * GIB, num_clips=64, where="the GPU").level == "PROBLEM"
    assert check_run_memory(15 * GIB, 16 * GIB, num_clips=64, where="the GPU").level == "NOTE"
    assert check_run_memory(5 * GIB, 16 * GIB, num_clips=64, where="the GPU").level == "OK"
    assert check_run_disk(GIB, 3, 3 * GIB).level == "PROBLEM"
    assert check_run_disk(GIB, 3, 5 * GIB).level == "OK"


def test_time_follows_the_slower_of_decoding_and_networks() -> None:
    slow_decode = check_run_time(0.1, 0.36, num_clips=1000, epochs=10)
    assert "about 1.0 h" in slow_decode.text and "decoding" in slow_decode.text
    slow_networks = check_run_time(0.72, 0.36, num_clips=1000, epochs=10)
    assert "about 2.0 h" in slow_networks.text and "the networks" in slow_networks.text
    short = check_run_time(0.072, 0.0, num_clips=1000, epochs=10)
    assert "about 12 min for 10 epochs" in short.text
    no_list = check_run_time(0.72, 0.36, num_clips=None, epochs=10)
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
