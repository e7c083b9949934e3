"""Automatic mixed precision: the dtype of the networks, and the loss scale that fp16 needs."""

from __future__ import annotations

import torch

from reskd.choices import PrecisionChoice

_AUTOCAST_DTYPE = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """Autocast and GradScaler for one device. Parameters stay fp32; with fp32 neither does anything.

    Args:
        choice: dtype of matrix products and convolutions.
        device: where the step runs.
    """

    def __init__(self, choice: PrecisionChoice, device: torch.device) -> None:
        if choice == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise ValueError(
                f"training.precision=bf16: {torch.cuda.get_device_name(device)} has no bf16 units; "
                "set training.precision=fp16."
            )
        self.choice = choice
        self.device = device
        self.scaler = torch.amp.GradScaler(device.type, enabled=choice == "fp16")

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=_AUTOCAST_DTYPE.get(self.choice), enabled=self.choice != "fp32")
