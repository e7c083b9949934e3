from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.reskd.experiment.test_stages import STUDENT, TEACHER, write_stages
from tests.reskd.feature_files import write_features

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools/doctor.py"
GIB = 2**30


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("doctor", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["doctor"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


doctor = _load()


@pytest.mark.parametrize(
    ("driver", "cuda", "usable", "level", "words"),
    [
        (None, "13.2", False, "NOTE", "no NVIDIA driver"),
        ("580.95.05", "13.2", True, "OK", "can use it"),
        ("535.54.03", "13.2", False, "PROBLEM", "driver 580 or newer"),
        ("535.54.03", None, False, "PROBLEM", "built without CUDA"),
    ],
)
def test_driver(driver: str | None, cuda: str | None, usable: bool, level: str, words: str) -> None:
    finding = doctor.check_driver(driver, cuda, usable=usable)
    assert finding.level == level and words in finding.text


@pytest.mark.parametrize(
    ("capability", "arch_list", "level"),
    [
        ((7, 0), ["sm_50", "sm_60", "sm_70", "sm_90"], "OK"),
        ((7, 0), ["sm_75", "sm_80", "sm_90"], "PROBLEM"),
        ((8, 6), ["sm_80"], "OK"),
        ((8, 0), ["sm_86"], "PROBLEM"),
        ((9, 0), ["sm_80"], "PROBLEM"),
        ((9, 0), ["sm_80", "compute_80"], "OK"),
        ((12, 0), ["sm_90", "sm_120"], "OK"),
        ((9, 0), ["sm_90a"], "OK"),
    ],
)
def test_gpu_needs_code_of_its_major_version_or_older_ptx(
    capability: tuple[int, int], arch_list: list[str], level: str
) -> None:
    assert doctor.check_gpu("a GPU", capability, arch_list).level == level


def test_volta_is_sent_to_torch_2_6() -> None:
    assert "torch 2.6" in doctor.check_gpu("V100", (7, 0), ["sm_75"]).text


@pytest.mark.parametrize(
    ("library", "num_gpus", "level"), [(True, 1, "OK"), (False, 1, "PROBLEM"), (False, 0, "OK"), (True, 0, "OK")]
)
def test_nvdec_is_missed_only_beside_a_gpu(library: bool, num_gpus: int, level: str) -> None:
    assert doctor.check_nvdec(library=library, num_gpus=num_gpus).level == level


def test_ways_in_follow_the_loader() -> None:
    cpu, cuda = doctor.check_ways_in("cpu", dali=True).text, doctor.check_ways_in("cuda", dali=True).text
    assert cpu.startswith("PyAV on the CPU: h264, hevc, vp9")
    assert cuda.startswith("DALI on NVDEC: h264")
    assert doctor.check_ways_in("cpu", dali=False).level == "PROBLEM"


@pytest.mark.parametrize(("free", "level"), [(0.06, "PROBLEM"), (1.0, "NOTE"), (8.0, "OK")])
def test_shared_memory(free: float, level: str) -> None:
    assert doctor.check_shared_memory(8 * GIB, int(free * GIB)).level == level


@pytest.mark.parametrize(("free", "level"), [(0.5, "PROBLEM"), (5.0, "NOTE"), (500.0, "OK")])
def test_disk(free: float, level: str) -> None:
    assert doctor.check_disk(int(free * GIB)).level == level


def test_versions_missing_outside_and_inside_the_range() -> None:
    installed = dict.fromkeys(doctor.TESTED, "0.0.1") | {"torch": "2.6.0", "av": None}
    levels = {finding.topic: finding.level for finding in doctor.check_versions(installed)}
    assert (levels["torch"], levels["numpy"], levels["av"]) == ("OK", "NOTE", "PROBLEM")


def test_native_op() -> None:
    backends = {"cuda": "there is no GPU", "cpu": None, "reference": None}
    assert doctor.check_native_op(backends, num_gpus=0).level == "OK"
    finding = doctor.check_native_op(backends, num_gpus=1)
    assert finding.level == "NOTE"
    assert "there is no GPU" in finding.text


def test_the_other_project_called_apex_is_a_problem(tmp_path: Path) -> None:
    assert doctor.check_apex(None, compiled=False).level == "OK"
    assert doctor.check_apex(tmp_path, compiled=False).level == "PROBLEM"
    (tmp_path / "optimizers").mkdir()
    assert doctor.check_apex(tmp_path, compiled=False).level == "NOTE"
    assert doctor.check_apex(tmp_path, compiled=True).level == "OK"


def test_a_run_that_does_not_fit_is_a_problem() -> None:
    assert doctor.check_run_memory(20 * GIB, 16 * GIB, num_clips=64, where="the GPU").level == "PROBLEM"
    assert doctor.check_run_memory(15 * GIB, 16 * GIB, num_clips=64, where="the GPU").level == "NOTE"
    assert doctor.check_run_memory(5 * GIB, 16 * GIB, num_clips=64, where="the GPU").level == "OK"
    assert doctor.check_run_disk(GIB, 3, 3 * GIB).level == "PROBLEM"
    assert doctor.check_run_disk(GIB, 3, 5 * GIB).level == "OK"


def test_time_follows_the_slower_of_decoding_and_networks() -> None:
    slow_decode = doctor.check_run_time(0.1, 0.36, num_clips=1000, epochs=10)
    assert "about 1.0 h" in slow_decode.text and "decoding" in slow_decode.text
    slow_networks = doctor.check_run_time(0.72, 0.36, num_clips=1000, epochs=10)
    assert "about 2.0 h" in slow_networks.text and "the networks" in slow_networks.text
    short = doctor.check_run_time(0.072, 0.0, num_clips=1000, epochs=10)
    assert "about 12 min for 10 epochs" in short.text
    no_list = doctor.check_run_time(0.72, 0.36, num_clips=None, epochs=10)
    assert no_list.level == "NOTE" and "about 12 min for 1,000 clips" in no_list.text


def test_lines_of_a_stage_carry_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finding = doctor.Finding("OK", "memory", "enough.")
    monkeypatch.setattr(doctor, "check_machine", lambda runs: [doctor.Finding("OK", "disk", "room.")])
    monkeypatch.setattr(doctor, "check_config", lambda config, stage: [finding])
    path = str(write_stages(write_features(tmp_path), TEACHER, STUDENT))
    assert doctor.main([path]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "OK      disk: room.",
        "OK      teacher: memory: enough.",
        "OK      student: memory: enough.",
        "0 problems.",
    ]


def test_report_counts_problems_and_speaks_json() -> None:
    findings = [doctor.Finding("OK", "a", "fine."), doctor.Finding("PROBLEM", "b", "broken; mend it.")]
    assert doctor.report(findings, as_json=False).splitlines() == [
        "OK      a: fine.",
        "PROBLEM b: broken; mend it.",
        "1 problem.",
    ]
    assert json.loads(doctor.report(findings, as_json=True))[1]["level"] == "PROBLEM"


def test_exit_status_is_1_only_with_a_problem(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for level, status in (("OK", 0), ("NOTE", 0), ("PROBLEM", 1)):
        monkeypatch.setattr(doctor, "check_machine", lambda runs, level=level: [doctor.Finding(level, "x", "y.")])
        assert doctor.main([]) == status
    assert "PROBLEM x: y." in capsys.readouterr().out


def test_a_missing_package_is_told_before_anything_else_is_tried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    versions = dict.fromkeys(doctor.TESTED, "2.6.0") | {"torch": None}
    monkeypatch.setattr(doctor, "installed_versions", lambda: versions)
    monkeypatch.setattr(doctor, "check_machine", lambda runs: pytest.fail("looked further"))
    assert doctor.main([]) == 1
    assert "PROBLEM torch: not installed" in capsys.readouterr().out


def test_a_config_that_is_not_there_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(["configs/no_such.yaml"]) == 1
    assert capsys.readouterr().err.startswith("error: expected a config file at configs/no_such.yaml")


def test_the_tool_runs_on_this_machine() -> None:
    command = [sys.executable, str(TOOL), "--json"]
    done = subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, capture_output=True
    )
    topics = [finding["topic"] for finding in json.loads(done.stdout)]
    assert {"driver", "NVDEC", "way in", "shared memory", "disk", "CPU cores", "torch", "fused loss", "apex"} <= set(
        topics
    )


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
    from reskd.experiment.config import load_config

    findings = {finding.topic: finding for finding in doctor.check_config(load_config(path))}
    assert set(findings) == {"data", "memory", "run's disk", "time"}
    assert findings["data"].level == "NOTE" and "nothing.csv" in findings["data"].text
    assert findings["memory"].level == "OK" and "4 clips at once" in findings["memory"].text
