"""The learning rate as a pure function of the step, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from dali_pipes.config import StrictConfig


class ScheduleConfig(StrictConfig):
    kind: Literal["cosine", "step", "exponential", "constant"] = Field("cosine", description="shape after the warm-up")
    warmup_epochs: float = Field(0.0, ge=0, description="linear rise from warmup_start_factor to 1")
    warmup_start_factor: float = Field(0.1, gt=0, le=1, description="share of the learning rate at step 0")
    milestones: tuple[Annotated[float, Field(gt=0)], ...] = Field((), description="epochs of the drops, for step")
    gamma: float = Field(
        0.1, gt=0, lt=1, description="factor of each drop: at the milestones for step, after each epoch for exponential"
    )
    final_factor: float = Field(0.0, ge=0, le=1, description="share of the learning rate at the end, for cosine")


def lr_factor(config: ScheduleConfig, *, step: int, total_steps: int, steps_per_epoch: float) -> float:
    """Learning rate at ``step`` (from 0), relative to the peak.

    Cosine decays from the end of the warm-up to ``total_steps`` (arXiv:1608.03983, one period).
    """
    warmup_steps = config.warmup_epochs * steps_per_epoch
    if step < warmup_steps:
        return config.warmup_start_factor + (1 - config.warmup_start_factor) * step / warmup_steps
    if config.kind == "constant":
        return 1.0
    if config.kind == "step":
        return config.gamma ** sum(step >= epoch * steps_per_epoch for epoch in config.milestones)
    if config.kind == "exponential":
        return config.gamma ** int(step / steps_per_epoch)
    progress = (step - warmup_steps) / max(1.0, total_steps - warmup_steps)
    return config.final_factor + (1 - config.final_factor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
