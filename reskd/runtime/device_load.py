"""How busy a GPU is, as its driver's management library (NVML) says."""

from __future__ import annotations

import functools
import logging
from typing import Any

import torch

from reskd.machine_checks import GIB

log = logging.getLogger(__name__)


def device_load(device: torch.device) -> dict[str, float]:
    """Metrics of a GPU; empty for a CPU.

    "speed/gpu_memory_gib" is the most that torch has allocated. With NVIDIA's package nvidia-ml-py also, as NVML
    measured them over its last sample (a sixth of a second to a second): shares of the time "speed/gpu_busy" (a kernel
    ran) and "speed/gpu_decoder_busy" (NVDEC), "speed/gpu_used_gib" (of all processes), "speed/gpu_watt" and
    "speed/gpu_clock_mhz". What a GPU does not tell is left out.
    """
    if device.type != "cuda":
        return {}
    return {"speed/gpu_memory_gib": torch.cuda.max_memory_allocated(device) / GIB, **_nvml_load(device)}


def _nvml_load(device: torch.device) -> dict[str, float]:
    found = _nvml_handle(device)
    if found is None:
        return {}
    nvml, handle = found
    readings = {
        "speed/gpu_busy": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
        "speed/gpu_decoder_busy": lambda: nvml.nvmlDeviceGetDecoderUtilization(handle)[0] / 100,
        "speed/gpu_used_gib": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used / GIB,
        "speed/gpu_watt": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3,
        "speed/gpu_clock_mhz": lambda: float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
    }
    values = {}
    for name, read in readings.items():
        try:
            values[name] = read()
        except nvml.NVMLError:  # not every GPU and container tells everything
            continue
    return values


@functools.cache
def _nvml_handle(device: torch.device) -> tuple[Any, Any] | None:
    """The library and the GPU in it, found by its UUID: NVML knows nothing of CUDA_VISIBLE_DEVICES."""
    try:
        import pynvml
    except ImportError:
        log.info("no load of the GPU in the metrics: pip install nvidia-ml-py")
        return None
    try:
        pynvml.nvmlInit()
        uuid = str(torch.cuda.get_device_properties(device).uuid)
        return pynvml, pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
    except (pynvml.NVMLError, AttributeError) as error:
        log.info("no load of the GPU in the metrics: %s", error)
        return None
