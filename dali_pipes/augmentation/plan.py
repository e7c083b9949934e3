"""Plan the augmentation of a clip: a pure function of seed, position and attempt.

See Note [Position is the only clock] in dali_pipes/sampling/order.py.

Note [Relative coordinates]
The steps of a plan know no pixels, so that they can be applied to views of any size, which then still show the same
thing. y and x are relative to the view: 0 to 1 from edge to edge for a rectangle, -1 to 1 for an affine map. What has a
shape on the screen, as a rotation has, takes the view's aspect ratio from the caller.

Note [Magnitudes of RandAugment]
With m = magnitude / 10, the strongest change is AutoAugment's (arXiv:1805.09501, table 6), as in torchvision and in
timm's "inc1": the change grows with m in every operation, while in the first code solarize, posterize and the four
factors grow weaker, or brighter, with it.

    rotate: +- 30 m degrees          posterize: 8 - round(4 m) bits kept
    shear: +- 0.3 m                  solarize: values of at least 255 (1 - m) are inverted
    translate: +- 150 / 331 m        color, contrast, brightness, sharpness: factor 1 +- 0.9 m
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from dali_pipes.augmentation_config import (
    HIGHEST_MAGNITUDE,
    AugmentationConfig,
    ColorJitterConfig,
    RandAugmentConfig,
    RandAugmentOp,
    RandomErasingConfig,
)
from dali_pipes.sampling.counter_rng import uniform

# One number per use, so that no two uses share random numbers; order.py and clip_plan.py have those before.
_RAND_AUGMENT, _COLOR_JITTER, _RANDOM_ERASING = range(7, 10)
_MOST_TRIES = 10  # of a rectangle, as in torchvision's RandomErasing
_NUM_KEYS = 2**53  # a key is exact as a float64

StepKind = Literal[
    "brightness",
    "contrast",
    "saturation",
    "hue",
    "sharpness",
    "auto_contrast",
    "equalize",
    "posterize",
    "solarize",
    "affine",
    "erase_color",
    "erase_noise",
]


class Step(NamedTuple):
    """One operation on all frames of a clip.

    Args:
        kind: a key of ``operations.OPERATIONS``.
        values: what that operation documents.
    """

    kind: StepKind
    values: tuple[float, ...] = ()


class Shape(NamedTuple):
    """What a plan must know of the views. See Note [Relative coordinates].

    Args:
        aspect: width over height of the teacher's view, or of the only one.
        noise_cells: (height, width) of the student's view, the grid of the noise in an erased rectangle.
    """

    aspect: float
    noise_cells: tuple[int, int]


def plan_augmentation(
    config: AugmentationConfig, shape: Shape, *, seed: int, position: int, attempt: int
) -> tuple[Step, ...]:
    """The steps of the clip at ``position``: those of RandAugment, then color jitter, then random erasing.

    Args:
        attempt: 0 for the planned clip, k for its k-th substitute.
    """
    steps: list[Step] = []
    if config.rand_augment is not None:
        steps += _rand_augment(config.rand_augment, shape, (seed, _RAND_AUGMENT, position, attempt))
    if config.color_jitter is not None:
        steps += _color_jitter(config.color_jitter, (seed, _COLOR_JITTER, position, attempt))
    if config.random_erasing is not None:
        steps += _random_erasing(config.random_erasing, shape, (seed, _RANDOM_ERASING, position, attempt))
    return tuple(steps)


def _rand_augment(config: RandAugmentConfig, shape: Shape, key: tuple[int, ...]) -> list[Step]:
    steps = []
    for draws in uniform(*key, np.arange(5 * config.num_ops)).reshape(config.num_ops, 5).tolist():
        of_op, of_use, of_sign, of_radius, of_angle = draws
        # A normal number from two uniform ones (Box and Muller 1958, doi:10.1214/aoms/1177706645).
        normal = math.sqrt(-2 * math.log(1 - of_radius)) * math.cos(2 * math.pi * of_angle)
        level = min(max(config.magnitude + config.magnitude_std * normal, 0.0), float(HIGHEST_MAGNITUDE))
        name = config.ops[int(of_op * len(config.ops))]
        if of_use < config.probability and name != "identity":
            strength = level / HIGHEST_MAGNITUDE
            steps.append(rand_augment_step(name, strength, -1 if of_sign < 0.5 else 1, shape.aspect, config.fill))
    return steps


def rand_augment_step(name: RandAugmentOp, strength: float, sign: int, aspect: float, fill: int) -> Step:
    """The step of an operation but identity. See Note [Magnitudes of RandAugment].

    Args:
        strength: m, 0 to 1.
        sign: -1 or 1, for the operations that have two directions.
        aspect: as ``Shape.aspect``.
        fill: gray level where the picture is moved away.
    """
    if name in _MAPS:
        return Step("affine", (*_MAPS[name](sign * strength, aspect), float(fill)))
    if name == "posterize":
        return Step("posterize", (float(8 - round(4 * strength)),))
    if name == "solarize":
        return Step("solarize", (255 * (1 - strength),))
    if name == "auto_contrast" or name == "equalize":
        return Step(name)
    kind: StepKind = "saturation" if name == "color" else name  # type: ignore[assignment]  # the other three
    return Step(kind, (1 + 0.9 * sign * strength,))


def _rotate(strength: float, aspect: float) -> tuple[float, ...]:
    """Around the center, on the screen; counterclockwise for a positive ``strength``."""
    cosine, sine = math.cos(math.radians(30 * strength)), math.sin(math.radians(30 * strength))
    return cosine, -sine / aspect, 0.0, sine * aspect, cosine, 0.0


def _shear_x(strength: float, aspect: float) -> tuple[float, ...]:
    """The first line stays, as in the published code."""
    slope = 0.3 * strength / aspect
    return 1.0, slope, slope, 0.0, 1.0, 0.0


def _shear_y(strength: float, aspect: float) -> tuple[float, ...]:
    slope = 0.3 * strength * aspect
    return 1.0, 0.0, 0.0, slope, 1.0, slope


def _translate_x(strength: float, aspect: float) -> tuple[float, ...]:
    return 1.0, 0.0, 2 * 150 / 331 * strength, 0.0, 1.0, 0.0


def _translate_y(strength: float, aspect: float) -> tuple[float, ...]:
    return 1.0, 0.0, 0.0, 0.0, 1.0, 2 * 150 / 331 * strength


# (a, b, c, d, e, f): the new pixel at (x, y) is the old one at (a x + b y + c, d x + e y + f); x and y from -1 to 1.
_MAPS: dict[str, Callable[[float, float], tuple[float, ...]]] = {
    "rotate": _rotate,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
}


def _color_jitter(config: ColorJitterConfig, key: tuple[int, ...]) -> list[Step]:
    of_use, *draws = uniform(*key, np.arange(9)).tolist()
    if of_use >= config.probability:
        return []
    kinds: tuple[StepKind, ...] = ("brightness", "contrast", "saturation", "hue")
    steps = []
    for number in np.argsort(draws[4:], kind="stable").tolist():
        kind, draw = kinds[number], draws[number]
        width: float = getattr(config, kind)
        middle = 0.0 if kind == "hue" else 1.0
        low = middle - width if kind == "hue" else max(0.0, middle - width)
        if width > 0:
            steps.append(Step(kind, (low + draw * (middle + width - low),)))
    return steps


def _random_erasing(config: RandomErasingConfig, shape: Shape, key: tuple[int, ...]) -> list[Step]:
    of_use, *of_color = uniform(*key, np.arange(4)).tolist()
    if of_use >= config.probability:
        return []
    box = _rectangle(config, shape.aspect, key)
    if config.fill == "noise":
        # Three numbers are drawn for a color; the first is enough for a key.
        return [Step("erase_noise", (*box, float(int(of_color[0] * _NUM_KEYS)), *map(float, shape.noise_cells)))]
    if config.fill == "random_color":
        return [Step("erase_color", (*box, *(float(int(256 * draw)) for draw in of_color)))]
    return [Step("erase_color", (*box, *[float(config.fill)] * 3))]


def _rectangle(config: RandomErasingConfig, aspect: float, key: tuple[int, ...]) -> tuple[float, float, float, float]:
    """Relative y, x, height and width: uniform in area and place, and in the logarithm of the aspect ratio.

    After ten tries that do not fit, the last one is cut to fit.
    """
    low, high = (math.log(value) for value in config.aspect_ratio)
    for number in range(1, _MOST_TRIES + 1):
        of_area, of_aspect, of_y, of_x = uniform(*key, number, np.arange(4)).tolist()
        area = config.area[0] + of_area * (config.area[1] - config.area[0])
        height = math.sqrt(area * aspect / math.exp(low + of_aspect * (high - low)))
        width = area / height
        if height <= 1 and width <= 1:
            break
    height, width = min(1.0, height), min(1.0, width)
    return of_y * (1 - height), of_x * (1 - width), height, width
