"""The length of a run, and how one step is split over ranks and passes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from dali_pipes.config import StrictConfig
from dali_pipes.sampling.order import positions_of_batch
from reskd.choices import PrecisionSetting
from reskd.training.recipes.early_stopping import EarlyStoppingConfig
from reskd.training.settings.recipes import AverageConfig, MixingConfig

SelectionMetric = Literal["top1", "mean_class_accuracy", "map", "log_loss", "gap", "hit1"]


class TrainingConfig(StrictConfig):
    epochs: float = Field(
        gt=0, le=1e6, description="passes over the training list; an incomplete last batch is dropped"
    )
    global_batch_size: int = Field(
        ge=1, le=1_000_000, description="clips per optimizer step, over all ranks and passes"
    )
    max_clips_per_pass: int | None = Field(
        None,
        ge=1,
        description="most clips a rank runs at once (gradient accumulation for the rest); default: what fits",
    )
    precision: PrecisionSetting = Field(
        "fp32",
        description="dtype of the networks' arithmetic; parameters stay fp32. auto: bf16 on a GPU that has it, fp16 on "
        "another one, fp32 on a CPU",
    )
    clip_norm: float | None = Field(None, gt=0, description="largest norm of the gradient of all parameters together")
    evaluate_every_epochs: int = Field(
        1, ge=1, description="epochs between validations, each of which may write best.pt"
    )
    selection_metric: SelectionMetric = Field(
        "top1",
        description="chooses best.pt, by its highest value or the lowest log_loss; gap and hit1 for several labels per "
        "video or sigmoid_bce",
    )
    checkpoint_every_steps: int = Field(
        500, ge=1, description="steps between writes of last.pt, which each epoch's end writes too"
    )
    keep_every_epochs: int | None = Field(None, ge=1, description="epochs between checkpoints kept as epoch_NNN.pt")
    log_every_steps: int = Field(10, ge=1, description="steps between logged metrics")
    diagnose_every_steps: int | None = Field(
        None,
        ge=1,
        description="steps between those whose gradients are compared term by term (grad_norm/..., grad_cosine/..., "
        "feature_map/...); default: none is. It changes no result",
    )
    mixing: MixingConfig | None = Field(
        None,
        description="mix the clips of a step in pairs, pixels and labels, the same in both views; default: none is",
    )
    ema: AverageConfig | None = Field(
        None,
        description="score, export and teach from an exponential moving average of the student's weights; default: "
        "from the last ones",
    )
    early_stopping: EarlyStoppingConfig | None = Field(
        None, description="end the run when validations stop improving; default: it runs for all epochs"
    )
    deterministic: bool = Field(False, description="on a GPU: slower kernels, bit-identical on every run")

    @model_validator(mode="after")
    def _passes_hold_pairs(self) -> TrainingConfig:
        if self.mixing is not None and self.global_batch_size % 2:
            found = f"global_batch_size = {self.global_batch_size}"
            raise ValueError(f"mixing mixes the clips of a step in pairs, and {found}; expected an even number")
        if self.mixing is not None and self.max_clips_per_pass == 1:
            raise ValueError(
                "mixing mixes the clips of a pass in pairs, and max_clips_per_pass = 1; expected 2 or more"
            )
        return self

    @property
    def clips_mixed_together(self) -> int:
        """A pass holds a multiple of so many clips."""
        return 1 if self.mixing is None else 2

    def why_too_large(self, num_clips: int) -> str:
        """A sentence if one batch is more than a list of so many clips; otherwise empty."""
        if self.global_batch_size <= num_clips:
            return ""
        batch = f"training.global_batch_size = {self.global_batch_size}"
        return f"{batch} is more than the {num_clips} training clips; make it smaller."

    def diagnoses(self, step: int) -> bool:
        """Whether the gradients of step number ``step``, counted from 1, are compared term by term."""
        return self.diagnose_every_steps is not None and step % self.diagnose_every_steps == 0

    def is_better(self, score: float, *, than: float | None) -> bool:
        """Whether a value of ``selection_metric`` is better than the best one so far; any is better than None."""
        if than is None:
            return True
        return score < than if self.selection_metric == "log_loss" else score > than


@dataclass(frozen=True)
class Plan:
    """The steps of a run. Counts are clips, except ``world_size`` and ``total_steps``."""

    num_clips: int
    global_batch_size: int
    clips_per_pass: int
    world_size: int
    total_steps: int

    @classmethod
    def make(cls, config: TrainingConfig, *, num_clips: int, clips_per_pass: int, world_size: int) -> Plan:
        """Raises ValueError when the global batch does not split evenly, or is larger than the training list."""
        batch = config.global_batch_size
        if too_large := config.why_too_large(num_clips):
            raise ValueError(too_large)
        if batch % (world_size * clips_per_pass):
            raise ValueError(
                f"training.global_batch_size = {batch}: expected a multiple of {world_size} processes x "
                f"{clips_per_pass} clips per pass; change it, training.max_clips_per_pass or the number of processes."
            )
        return cls(
            num_clips, batch, clips_per_pass, world_size, max(1, int(Fraction(str(config.epochs)) * num_clips // batch))
        )

    @property
    def shares_of_step(self) -> int:
        """The passes of all ranks; each gives an equal share of the gradient."""
        return self.global_batch_size // self.clips_per_pass

    @property
    def passes_per_step(self) -> int:
        return self.global_batch_size // (self.world_size * self.clips_per_pass)

    def positions_of_pass(self, step: int, number: int, *, rank: int) -> np.ndarray:
        """int64, the positions of a rank's pass ``number`` of a step, both from 0: see ``positions_of_batch``."""
        batch = step * self.passes_per_step + number
        return positions_of_batch(batch, rank, self.world_size, self.clips_per_pass, self.global_batch_size)

    @property
    def steps_per_epoch(self) -> float:
        return self.num_clips / self.global_batch_size

    def ends_epoch(self, num_steps: int, *, every: int = 1) -> bool:
        """Whether step number ``num_steps`` completed an ``every``-th epoch."""
        return self.epochs_after(num_steps) // every > self.epochs_after(num_steps - 1) // every

    def first_epoch_ends(self, num_steps: int) -> bool:
        """Whether step number ``num_steps`` completed the first epoch, or a run shorter than one."""
        is_short_run = num_steps == self.total_steps and self.epochs_after(num_steps) == 0
        return is_short_run or (self.ends_epoch(num_steps) and self.epochs_after(num_steps - 1) == 0)

    def epochs_after(self, num_steps: int) -> int:
        """Number of epochs completed."""
        return num_steps * self.global_batch_size // self.num_clips


class Milestones(NamedTuple):
    """What happens after a step, counted from 1."""

    config: TrainingConfig
    plan: Plan

    def evaluates(self, step: int) -> bool:
        return step == self.plan.total_steps or self.plan.ends_epoch(step, every=self.config.evaluate_every_epochs)

    def saves(self, step: int) -> bool:
        by_step = step % self.config.checkpoint_every_steps == 0
        return by_step or step == self.plan.total_steps or self.plan.ends_epoch(step)

    def keeps(self, step: int) -> bool:
        """Whether its checkpoint gets a file of its own."""
        every = self.config.keep_every_epochs
        return every is not None and self.plan.ends_epoch(step, every=every)

    def shows_clips(self, step: int) -> bool:
        """Whether its clips are shown with the student's answers. Each such step also saves."""
        return step == self.plan.total_steps or self.plan.ends_epoch(step)

    def logs(self, step: int) -> bool:
        return self.saves(step) or step % self.config.log_every_steps == 0
