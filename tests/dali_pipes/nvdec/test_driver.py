"""The driver's answers, from a library that stands for it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from dali_pipes.nvdec.abilities import PictureLimits
from dali_pipes.nvdec.driver import Libraries, ask_driver, name_of_gpu

SOURCE = Path(__file__).with_name("fake_driver.c")
H264, HEVC = PictureLimits(48, 48, 4096, 4096, 65536), PictureLimits(144, 144, 8192, 8192, 262144)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Libraries:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("driver") / "fake_driver.so"
    subprocess.run([compiler, "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
    return Libraries(str(library), str(library))


@pytest.mark.parametrize("device_index", [0, 1])
def test_limits_are_those_of_the_driver(device_index: int, driver: Libraries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_NVDEC", "4:48:4096,8:144:8192")
    found = ask_driver(device_index, libraries=driver)
    assert found.problem == ""
    assert found.limits == {"h264": H264, "hevc": HEVC} and found.num_engines == 7


def test_a_gpu_without_any_decoder_says_so(driver: Libraries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_NVDEC", "")
    assert ask_driver(0, libraries=driver).problem == "this GPU has no video decoder"


def test_a_missing_library_is_named(driver: Libraries) -> None:
    problem = ask_driver(0, libraries=Libraries(driver.cuda, "/no/libnvcuvid.so.1")).problem
    assert problem.startswith("this GPU cannot decode videos: the driver's library libnvcuvid.so.1 is missing")


@pytest.mark.parametrize(
    ("cuda", "status", "reason"),
    [("", "100", "cuInit failed with status 100"), ("/no/libcuda.so.1", "0", "/no/libcuda.so.1: cannot open")],
)
def test_a_driver_that_fails_gives_its_reason(
    cuda: str, status: str, reason: str, driver: Libraries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_CUDA", status)
    libraries = Libraries(cuda or driver.cuda, driver.nvcuvid)
    problem = ask_driver(0, libraries=libraries).problem
    assert problem.startswith("the driver does not say what this GPU's video decoder can do: ") and reason in problem
    assert name_of_gpu(0, libraries=libraries) == ""


def test_a_gpu_is_named_with_its_driver(driver: Libraries) -> None:
    assert name_of_gpu(1, libraries=driver) == "Fake GPU 1, CUDA 12.8"


def test_a_library_without_the_function_is_no_decoder(driver: Libraries) -> None:
    assert "libnvcuvid.so.1 is missing" in ask_driver(0, libraries=Libraries(driver.cuda, "libc.so.6")).problem
