"""What a user may choose about a recogniser and a teacher."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from dali_pipes.config import StrictConfig

BackboneName = Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "mobilenet_v2"]
_Stride = Literal[1, 2]
StageStrides = tuple[_Stride, _Stride, _Stride, _Stride]
_Rgb = tuple[float, float, float]
_PositiveRgb = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


class RecognizerConfig(StrictConfig):
    """A 2-D backbone over every frame, averaged over frames (TSN, arXiv:1608.00859)."""

    backbone: BackboneName = Field(description="a torchvision network without its pooling and classifier")
    weights: str = Field(
        "none",
        min_length=1,
        description="where to start: none; a torchvision name (IMAGENET1K_V1); or the path of a checkpoint of ours "
        "or of a torchvision state dict",
    )
    stage_strides: StageStrides | None = Field(
        None,
        description="strides of a ResNet's four stages; [1, 1, 2, 2] is R50-S of the paper; default: [1, 2, 2, 2]",
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="before the linear head, in training")
    head_init_std: float = Field(0.001, gt=0, description="standard deviation of the new head's weights; biases are 0")
    pixel_mean: _Rgb = Field(
        (123.675, 116.28, 103.53), description="subtracted from each colour channel (R, G, B), of 0..255"
    )
    pixel_std: _PositiveRgb = Field((58.395, 57.12, 57.375), description="divides each colour channel, of 0..255")

    @model_validator(mode="after")
    def _strides_fit(self) -> RecognizerConfig:
        if self.stage_strides is None:
            return self
        if self.backbone == "mobilenet_v2":
            raise ValueError("stage_strides: expected a ResNet, found mobilenet_v2; leave stage_strides out")
        if self.backbone in ("resnet18", "resnet34") and self.stage_strides[0] != 1:
            # Their first stage keeps the width, so torchvision gives it no projection that could stride.
            raise ValueError(
                f"stage_strides: expected 1 for the first stage of {self.backbone}, found {self.stage_strides[0]}; "
                "stride a later stage, or use a deeper ResNet"
            )
        return self


class TeacherConfig(StrictConfig):
    update: Literal["frozen"] = Field("frozen", description="the teacher learns nothing while it teaches")
    batch_norm: Literal["batch_stats", "running_stats"] = Field(
        description="normalise with the batch, as the paper's code does on purpose, or with the stored statistics"
    )

    @field_validator("update", mode="before")
    @classmethod
    def _not_joint_yet(cls, value: object) -> object:
        if value == "joint":
            raise ValueError(
                "expected frozen, found joint; a teacher that learns in the same step is not offered yet: "
                "train it first, in a stage of its own"
            )
        return value
