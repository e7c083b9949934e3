"""Settings of a teacher, beside those of its network."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from dali_pipes.config import StrictConfig
from reskd.models.common_config import BatchNormChoice


class TeacherConfig(StrictConfig):
    update: Literal["frozen", "joint"] = Field(
        "frozen",
        description="frozen: the teacher is not trained; joint: it is trained in the same step, by its own task loss "
        "alone",
    )
    batch_norm: BatchNormChoice = Field(
        description="normalize with the batch, as the paper's code does on purpose, or with running statistics"
    )
    sees: Literal["teacher_view", "student_view"] = Field(
        "teacher_view",
        description="student_view: the teacher is shown the student's own pixels and frames, so that it knows more by "
        "its size and training alone: model distillation, Table 6 of the ResKD paper",
    )
    stochastic_depth: bool = Field(
        False,
        description="a frozen Swin drops blocks at random, with its own stochastic_depth, as in the paper's code, "
        "which leaves the teacher in training mode",
    )
    shares_head: bool = Field(
        False,
        description="one classifier for both: the student uses a frozen teacher's trained head, unchanged; with a "
        "joint teacher, both losses train one head",
    )

    precision: Literal["auto", "fp32", "fp16", "bf16"] = Field(
        "auto",
        description="dtype of a frozen teacher's products; auto: training.precision. Half precision takes less time "
        "where a machine has units for it; the outputs are fp32 then",
    )

    @model_validator(mode="after")
    def _joint_is_in_training(self) -> TeacherConfig:
        if self.update == "joint" and self.batch_norm == "running_stats":
            raise ValueError(
                "batch_norm: expected batch_stats, found running_stats; a joint teacher is trained, and networks in "
                "training normalize with the batch"
            )
        if self.update == "joint" and self.stochastic_depth:
            raise ValueError(
                "stochastic_depth: expected a frozen teacher, found a joint one, which drops blocks anyway"
            )
        if self.update == "joint" and self.precision != "auto":
            raise ValueError("precision: expected auto for a joint teacher, which is trained under training.precision")
        return self
