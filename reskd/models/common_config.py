"""Settings that all families of recognizers have, and those that all on pixels have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from dali_pipes.config import StrictConfig

BatchNormChoice = Literal["batch_stats", "running_stats"]
_Rgb = tuple[float, float, float]
_PositiveRgb = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]

# Settings that keep a part of the initial weights through the training, and the value that keeps none.
KEPT_PARTS: Mapping[str, Any] = {"batch_norm": "batch_stats", "frozen_stages": 0}


class AnyRecognizerConfig(StrictConfig):
    """Settings of all families."""

    weights: str = Field(
        "none",
        min_length=1,
        description="initial weights: none; a torchvision name (IMAGENET1K_V1); the path of a checkpoint of ours, of "
        "mmaction2 or of the paper's code, or of a state dict of torchvision or timm; for a network of timm also "
        "package (of an installed package that ships them) or hub (timm downloads them)",
    )
    weights_head: Literal["auto", "keep", "new"] = Field(
        "auto",
        description="the classifier: keep loads the weights' own, trained on the same classes; new starts "
        "at random; auto keeps a video checkpoint's, but not torchvision's",
    )

    @property
    def architecture(self) -> dict[str, Any]:
        """The settings that change what given weights compute (strides leave no trace in weights), as plain values."""
        return self.model_dump(mode="json", exclude={"weights", "weights_head", *KEPT_PARTS})

    def settings_beside_weights(self) -> dict[str, Any]:
        """All settings as plain values, for a file that holds the trained weights: without the initial ones, which
        would read as if it held those, or none."""
        return self.model_dump(mode="json", exclude={"weights", "weights_head"})


class AnyPixelConfig(AnyRecognizerConfig):
    """Settings of all families on pixels."""

    pixel_mean: _Rgb = Field(
        (123.675, 116.28, 103.53), description="subtracted from each color channel (R, G, B), in 0..255"
    )
    pixel_std: _PositiveRgb = Field((58.395, 57.12, 57.375), description="divides each color channel, in 0..255")
    batch_norm: BatchNormChoice = Field(
        "batch_stats",
        description="the backbone's batch norm in training: batch_stats normalizes with the batch and learns; "
        "running_stats keeps the initial weights' statistics, scales and offsets (frozen batch norm)",
    )


class AnyBackboneConfig(AnyPixelConfig):
    """Settings of all families on pixels whose backbone is known."""

    activation_checkpointing: bool = Field(
        False,
        description="in training, keep only the inputs of the backbone's blocks, and compute their activations again "
        "in the backward pass: less memory, about a third more arithmetic, the same result",
    )

    @property
    def architecture(self) -> dict[str, Any]:
        return {key: value for key, value in super().architecture.items() if key != "activation_checkpointing"}
