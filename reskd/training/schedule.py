"""The learning rate as a pure function of the step, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field

from dali_pipes.config import StrictConfig
from reskd.training.plan import Plan


class ScheduleConfig(StrictConfig):
    kind: Literal["cosine", "step", "exponential", "constant"] = Field("cosine", description="shape after the warm-up")
    warmup_epochs: float = Field(0.0, ge=0, description="linear rise from warmup_start_factor to 1")
    warmup_start_factor: float = Field(0.1, gt=0, le=1, description="share of the learning rate at step 0")
    milestones: tuple[Annotated[float, Field(gt=0)], ...] = Field((), description="epochs of the drops, for step")
    gamma: float = Field(
        0.1, gt=0, lt=1, description="factor of each drop: at the milestones for step, after each epoch for exponential"
    )
    final_factor: float = Field(0.0, ge=0, le=1, description="share of the learning rate at the end, for cosine")
    cosine_by: Literal["step", "epoch"] = Field(
        "step",
        description="step: the cosine falls in each step, from the end of the warm-up; epoch: it falls once an epoch, "
        "counted from the first, and the warm-up multiplies it, as in MMAction2 (mmcv's CosineAnnealing by epoch)",
    )


def lr_factor(config: ScheduleConfig, *, step: int, total_steps: int, steps_per_epoch: float | Fraction) -> float:
    """Learning rate at ``step`` (from 0), relative to the peak.

    With a Fraction, drops after whole epochs come exactly when these are over.

    Cosine decays to ``total_steps`` (arXiv:1608.03983, one period), from the end of the warm-up or, by epoch, from the
    first step.
    """
    warmup_steps = config.warmup_epochs * float(steps_per_epoch)
    epochs = step / steps_per_epoch
    warmup = 1.0
    if step < warmup_steps:
        warmup = config.warmup_start_factor + (1 - config.warmup_start_factor) * step / warmup_steps
    if config.kind == "cosine" and config.cosine_by == "epoch":
        return warmup * _cosine(int(epochs) * float(steps_per_epoch) / total_steps, config.final_factor)
    if step < warmup_steps:
        return warmup
    if config.kind == "constant":
        return 1.0
    if config.kind == "step":
        return config.gamma ** sum(epochs >= epoch for epoch in config.milestones)
    if config.kind == "exponential":
        return config.gamma ** int(epochs)
    return _cosine((step - warmup_steps) / max(1.0, total_steps - warmup_steps), config.final_factor)


def factor_at(config: ScheduleConfig, plan: Plan, step: int) -> float:
    """``lr_factor`` of a run's step, counted from 0."""
    steps_per_epoch = Fraction(plan.num_clips, plan.global_batch_size)
    return lr_factor(config, step=step, total_steps=plan.total_steps, steps_per_epoch=steps_per_epoch)


def _cosine(progress: float, final_factor: float) -> float:
    return final_factor + (1 - final_factor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
