"""Automatic mixed precision: the dtype of the networks, and the loss scale that fp16 needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from reskd.choices import PrecisionChoice, PrecisionSetting

# In messages of torch and oneDNN about a kernel that this machine does not have.
_NO_KERNEL = (
    "primitive descriptor",
    "not implemented for 'Half'",
    "not implemented for 'BFloat16'",
    "No available kernel",
)
_AUTOCAST_DTYPE = {"bf16": torch.bfloat16, "fp16": torch.float16}


def chosen_precision(setting: PrecisionSetting, device: torch.device) -> PrecisionChoice:
    """``setting``, or what "auto" stands for on this device: bf16 on a GPU that has it, else fp16; fp32 on a CPU."""
    if setting != "auto":
        return setting
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


class Precision:
    """Autocast and GradScaler for one device. Parameters stay fp32; with fp32 neither does anything.

    Args:
        setting: dtype of matrix products and convolutions; ``choice`` is what "auto" stands for here.
        device: where the step runs.
        passes_per_step: of a training, whose gradients are added.
    """

    def __init__(self, setting: PrecisionSetting, device: torch.device, *, passes_per_step: int = 1) -> None:
        choice = chosen_precision(setting, device)
        if choice == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise ValueError(
                f"training.precision=bf16: {torch.cuda.get_device_name(device)} has no bf16 units; "
                "set training.precision=fp16."
            )
        self.choice = choice
        self.device = device
        self._passes_per_step = passes_per_step
        self.scaler = torch.amp.GradScaler(device.type, enabled=choice == "fp16")

    @contextmanager
    def refused_if_missing(self) -> Iterator[None]:
        """Turn the error of a missing kernel inside into a sentence; open it around a first pass.

        Raises:
            ValueError: this machine has no kernel of the chosen precision for one of the networks' layers.
        """
        try:
            yield
        except RuntimeError as error:
            if self.choice == "fp32" or not any(mark in str(error) for mark in _NO_KERNEL):
                raise
            said = " ".join(str(error).split())[:200]
            raise ValueError(
                f"training.precision={self.choice}: expected {self.device.type} kernels for all layers; "
                f"one is missing ({said}); set training.precision=fp32."
            ) from error

    def loss_scale(self) -> torch.Tensor:
        """What multiplies a pass's loss, a 0-d tensor on the device: nothing waits for it. 1 / passes but in fp16."""
        scale: torch.Tensor = self.scaler.scale(torch.ones((), device=self.device))
        return scale / self._passes_per_step

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=_AUTOCAST_DTYPE.get(self.choice), enabled=self.choice != "fp32")
