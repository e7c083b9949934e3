"""Settings of the augmentation of training clips beyond crop and flip. All of it is off by default."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from dali_pipes.strict_config import StrictConfig

# The operations of RandAugment (arXiv:1909.13719, section 3).
RandAugmentOp = Literal[
    "identity",
    "auto_contrast",
    "equalize",
    "rotate",
    "solarize",
    "color",
    "posterize",
    "contrast",
    "brightness",
    "sharpness",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
]
RAND_AUGMENT_OPS: tuple[RandAugmentOp, ...] = get_args(RandAugmentOp)
HIGHEST_MAGNITUDE = 10

_Level = Annotated[int, Field(ge=0, le=255)]


def _erasing_fill(value: object) -> object:
    # One sentence; the members of a union would be named one by one.
    if value in ("noise", "random_color") or (type(value) is int and 0 <= value <= 255):
        return value
    raise ValueError(f"expected noise, random_color or a gray level from 0 to 255, found {str(value)[:200]!r}")


def _each_once(names: object) -> object:
    # One sentence; of a tuple's members, each unknown one would be another.
    named = names if isinstance(names, list | tuple) else ()
    if named and all(name in RAND_AUGMENT_OPS for name in named) and all(named.count(name) == 1 for name in named):
        return names
    raise ValueError(f"expected some of {', '.join(RAND_AUGMENT_OPS)}, each once, found {str(names)[:200]}")


class ColorJitterConfig(StrictConfig):
    """Random brightness, contrast, saturation and hue, in random order (torchvision's ColorJitter)."""

    brightness: float = Field(0.0, ge=0, le=10, description="the factor is drawn from 1 - b (at least 0) to 1 + b")
    contrast: float = Field(0.0, ge=0, le=10, description="as brightness, around the clip's mean gray")
    saturation: float = Field(0.0, ge=0, le=10, description="as brightness; factor 0 is gray")
    hue: float = Field(0.0, ge=0, le=0.5, description="the shift is drawn from -h to h; 1 is the whole color circle")
    probability: float = Field(1.0, ge=0, le=1, description="probability that a clip's colors change at all")

    @model_validator(mode="after")
    def _changes_something(self) -> ColorJitterConfig:
        if not (self.brightness or self.contrast or self.saturation or self.hue):
            raise ValueError("expected brightness, contrast, saturation or hue above 0, found none")
        return self


class RandAugmentConfig(StrictConfig):
    """``num_ops`` operations drawn at random, all with one magnitude (RandAugment, arXiv:1909.13719)."""

    num_ops: int = Field(2, ge=1, le=16, description="N of the paper, operations one after another; may repeat")
    magnitude: float = Field(
        9.0,
        ge=0,
        le=HIGHEST_MAGNITUDE,
        description="M of the paper, 10 for the strongest; torchvision's is of 30: its 9 is 3 here",
    )
    magnitude_std: float = Field(
        0.0, ge=0, le=HIGHEST_MAGNITUDE, description="standard deviation of each operation's magnitude (timm's mstd)"
    )
    probability: float = Field(
        1.0, ge=0, le=1, description="probability of each of the N operations; timm and PySlowFast have 0.5"
    )
    ops: Annotated[tuple[RandAugmentOp, ...], BeforeValidator(_each_once)] = Field(
        RAND_AUGMENT_OPS, description="the operations to draw from, all equally likely"
    )
    fill: _Level = Field(128, description="gray level where an operation moves the picture away")


class RandomErasingConfig(StrictConfig):
    """A random rectangle is overwritten (Random Erasing, arXiv:1708.04896). The defaults are the paper's."""

    probability: float = Field(0.5, gt=0, le=1, description="probability that a clip has a rectangle")
    area: tuple[float, float] = Field((0.02, 0.4), description="share of the picture's area, low and high")
    aspect_ratio: tuple[float, float] = Field((0.3, 10 / 3), description="width over height, low and high")
    fill: Annotated[Literal["noise", "random_color"] | _Level, BeforeValidator(_erasing_fill)] = Field(
        "noise", description="noise, random_color (one for a clip) or a gray level from 0 to 255"
    )

    @model_validator(mode="after")
    def _ordered(self) -> RandomErasingConfig:
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise ValueError(f"area: expected 0 < low <= high <= 1, found {self.area}")
        if not 0 < self.aspect_ratio[0] <= self.aspect_ratio[1]:
            raise ValueError(f"aspect_ratio: expected 0 < low <= high, found {self.aspect_ratio}")
        return self


class AugmentationConfig(StrictConfig):
    """What training does with a rendered clip: RandAugment, then color jitter, then random erasing.

    A clip's draws are the same for all its frames and for both views. Evaluation does none of it.
    """

    rand_augment: RandAugmentConfig | None = Field(None, description="RandAugment; default: none")
    color_jitter: ColorJitterConfig | None = Field(None, description="random colors; default: as they are")
    random_erasing: RandomErasingConfig | None = Field(None, description="an erased rectangle; default: none")

    @property
    def is_on(self) -> bool:
        return any(recipe is not None for recipe in (self.rand_augment, self.color_jitter, self.random_erasing))
