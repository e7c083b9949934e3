from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import pytest
import torch

from reskd.runtime import device_load as module
from reskd.runtime.device_load import device_load

GPU = torch.device("cuda", 1)


class FakeNVMLError(Exception):
    pass


@pytest.fixture(autouse=True)
def _no_memory_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1234"))
    module._nvml_handle.cache_clear()
    yield
    module._nvml_handle.cache_clear()


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A management library of a GPU that does not tell its power."""
    fake = ModuleType("pynvml")

    def no_power(handle: str) -> float:
        raise FakeNVMLError("not supported")

    answers = {
        "NVMLError": FakeNVMLError,
        "NVML_CLOCK_SM": 1,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByUUID": lambda uuid: uuid,
        "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=97),
        "nvmlDeviceGetDecoderUtilization": lambda handle: (55, 167_000),
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(used=4 * 2**30),
        "nvmlDeviceGetPowerUsage": no_power,
        "nvmlDeviceGetClockInfo": lambda handle, clock: 1980,
    }
    for name, answer in answers.items():
        setattr(fake, name, answer)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def test_a_cpu_has_no_load() -> None:
    assert device_load(torch.device("cpu")) == {}


def test_a_gpu_tells_what_it_can(nvml: ModuleType) -> None:
    assert device_load(GPU) == {
        "speed/gpu_memory_gib": 3.0,
        "speed/gpu_busy": 0.97,
        "speed/gpu_decoder_busy": 0.55,
        "speed/gpu_used_gib": 4.0,
        "speed/gpu_clock_mhz": 1980.0,
    }
    assert module._nvml_handle(GPU) == (nvml, "GPU-1234")


def test_without_the_package_there_is_torchs_number_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    caplog.set_level("INFO", logger=module.__name__)
    assert device_load(GPU) == device_load(GPU) == {"speed/gpu_memory_gib": 3.0}
    assert caplog.messages == ["no load of the GPU in the metrics: pip install nvidia-ml-py"]


def test_a_driver_without_the_library_is_said_once(nvml: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    def missing() -> None:
        raise FakeNVMLError("Library not found")

    nvml.nvmlInit = missing  # type: ignore[attr-defined]
    caplog.set_level("INFO", logger=module.__name__)
    assert device_load(GPU) == device_load(GPU) == {"speed/gpu_memory_gib": 3.0}
    assert caplog.messages == ["no load of the GPU in the metrics: Library not found"]
