from __future__ import annotations

import json
from pathlib import Path

import pytest

from dali_pipes.nvdec.abilities import Nvdec, PictureLimits
from reskd import machine_checks as checks
from reskd.environment import TESTED
from reskd.machine_checks import GIB


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
    finding = checks.check_driver(driver, cuda, usable=usable)
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
    assert checks.check_gpu("a GPU", capability, arch_list).level == level


def test_volta_is_sent_to_torch_2_6() -> None:
    assert "torch 2.6" in checks.check_gpu("V100", (7, 0), ["sm_75"]).text


H264 = {"h264": PictureLimits(48, 16, 4096, 4096, 65536)}


@pytest.mark.parametrize(
    ("nvdec", "level", "text"),
    [
        (None, "OK", "not needed without a GPU."),
        (Nvdec("it is missing"), "PROBLEM", "it is missing; or set data.loader.decoder=pyav."),
        (
            Nvdec(limits=H264),
            "OK",
            "the GPU decodes h264 48x16 to 4096x4096; run reskd gpu-check once: until then only H.264 and HEVC are "
            "decoded on it.",
        ),
        (
            Nvdec(limits=H264, proven=frozenset({"h264", "hevc"})),
            "OK",
            "the GPU decodes h264 48x16 to 4096x4096; reskd gpu-check found right: h264, hevc.",
        ),
        (
            Nvdec(limits=H264, proven=frozenset({"h264"}), wrong=frozenset({"vp9"})),
            "NOTE",
            "the GPU decodes h264 48x16 to 4096x4096; reskd gpu-check found right: h264; wrong, so left to PyAV: vp9.",
        ),
    ],
)
def test_nvdec_is_missed_only_beside_a_gpu(nvdec: Nvdec | None, level: str, text: str) -> None:
    found = checks.check_nvdec(nvdec)
    assert (found.level, found.text) == (level, text)


def test_decoders_follow_the_loader() -> None:
    assert checks.check_decoders(None, dali=True).text.startswith("PyAV on the CPU: h264, hevc, vp9")
    assert checks.check_decoders(Nvdec(), dali=True).text.startswith("DALI on NVDEC: h264, hevc; PyAV")
    assert checks.check_decoders(Nvdec(limits=H264), dali=True).text.startswith("DALI on NVDEC: h264; PyAV")
    assert checks.check_decoders(None, dali=False).level == "NOTE"


@pytest.mark.parametrize(("free", "level"), [(0.06, "PROBLEM"), (1.0, "NOTE"), (8.0, "OK")])
def test_shared_memory(free: float, level: str) -> None:
    assert checks.check_shared_memory(8 * GIB, int(free * GIB)).level == level


@pytest.mark.parametrize(("free", "level"), [(0.5, "PROBLEM"), (5.0, "NOTE"), (500.0, "OK")])
def test_disk(free: float, level: str) -> None:
    assert checks.check_disk(int(free * GIB)).level == level


def test_versions_missing_outside_and_inside_the_range() -> None:
    installed = dict.fromkeys(TESTED, "0.0.1") | {"torch": "2.6.0", "av": None}
    levels = {finding.topic: finding.level for finding in checks.check_versions(installed)}
    assert (levels["torch"], levels["numpy"], levels["av"]) == ("OK", "NOTE", "PROBLEM")
    assert levels["tensorboard"] == "NOTE"  # a student in use needs none


def test_two_packages_of_opencv_are_named() -> None:
    assert checks.check_opencv(["opencv-python-headless"]) == []
    (finding,) = checks.check_opencv(["opencv-python-headless", "opencv-python"])
    assert finding.level == "NOTE" and "opencv-python-headless and opencv-python fill one Python" in finding.text


@pytest.mark.parametrize(
    ("installed", "driver", "level", "text"),
    [
        ({"nvidia-dali-cuda120": "2.4.0"}, None, "OK", "nvidia-dali-cuda120 2.4.0"),
        ({"nvidia-dali-cuda130": "2.4.0", "nvidia-dali-cuda120": None}, "580.65.06", "OK", "nvidia-dali-cuda130 2.4.0"),
        ({}, None, "NOTE", "not installed, so PyAV decodes on the CPU and torch's DataLoader makes the batches"),
        (
            {"nvidia-dali-cuda120": "2.4.0", "nvidia-dali-cuda130": "2.4.0"},
            None,
            "PROBLEM",
            "nvidia-dali-cuda120 and nvidia-dali-cuda130 fill one Python package",
        ),
        ({"nvidia-dali-cuda130": "2.4.0"}, "535.183.01", "PROBLEM", "needs a driver from 580 on, found 535.183.01"),
        ({"nvidia-dali-cuda120": "1.44.0"}, "535.183.01", "NOTE", "1.44.0 is outside the tested range"),
    ],
)
def test_one_dali_that_suits_the_driver(
    installed: dict[str, str | None], driver: str | None, level: str, text: str
) -> None:
    finding = checks.check_dali(installed, driver)
    assert finding.level == level and text in finding.text


def test_libraries_of_npp_are_named_where_a_gpu_is() -> None:
    assert checks.check_npp(None).text == "not needed without a GPU."
    assert checks.check_npp([]).text == "found."
    finding = checks.check_npp(["libnppc.so.12", "libnppig.so.12"])
    assert finding.level == "NOTE" and "libnppc.so.12, libnppig.so.12 not found" in finding.text


def test_native_op() -> None:
    backends = {"cuda": "there is no GPU", "cpu": None, "reference": None}
    assert checks.check_native_op(backends, num_gpus=0).level == "OK"
    finding = checks.check_native_op(backends, num_gpus=1)
    assert finding.level == "NOTE"
    assert "there is no GPU" in finding.text


def test_the_other_project_called_apex_is_a_problem(tmp_path: Path) -> None:
    assert checks.check_apex(None, compiled=False).level == "OK"
    assert checks.check_apex(tmp_path, compiled=False).level == "PROBLEM"
    (tmp_path / "optimizers").mkdir()
    assert checks.check_apex(tmp_path, compiled=False).level == "NOTE"
    assert checks.check_apex(tmp_path, compiled=True).level == "OK"


def test_report_counts_problems_and_speaks_json() -> None:
    findings = [checks.Finding("OK", "a", "fine."), checks.Finding("PROBLEM", "b", "broken; mend it.")]
    assert checks.report(findings, as_json=False).splitlines() == [
        "OK      a: fine.",
        "PROBLEM b: broken; mend it.",
        "1 problem.",
    ]
    assert json.loads(checks.report(findings, as_json=True))[1]["level"] == "PROBLEM"
