"""How work on a device is timed: nothing waits for a CPU, and a GPU works after the host has gone on."""

from __future__ import annotations

import torch


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def recorded_event() -> torch.cuda.Event:
    """An event that the current stream reaches after the work that it was given so far."""
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event
