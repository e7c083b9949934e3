"""Choose the crop of a clip.

Note [Crops of pixels that are not square]
A crop has the view's aspect as shown on a screen, so that nothing is distorted. There, a pixel is ``pixel_aspect``
times as wide as high. So a box of stored pixels has the view's aspect divided by that, and is resized to the view in
one step:

    720 x 576 pixels of aspect 16:15 are shown as 768 x 576. The center crop of a square view is 540 x 576 pixels.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from dali_pipes.sampling.counter_rng import uniform
from dali_pipes.sampling.spec import SamplingRules


class Crop(NamedTuple):
    """A box in whole pixels of the upright picture."""

    y: int
    x: int
    height: int
    width: int


def choose_crop(
    rules: SamplingRules,
    key: tuple[int, ...],
    height: int,
    width: int,
    *,
    index: int = 0,
    pixel_aspect: float = 1.0,
) -> Crop:
    """Choose a crop of kind ``rules.crop_kind``.

    Args:
        key: hash key of random crops.
        height, width: size of the upright picture in pixels.
        index: which of the three crops, 0 to 2; for kind "three".
        pixel_aspect: width over height of a pixel of the upright picture. See Note [Crops of pixels that are not
            square]; with ``rules.pixel_aspect`` "stored" it is ignored.
    """
    if pixel_aspect != 1 and rules.pixel_aspect == "display":
        rules = replace(rules, view_aspect=rules.view_aspect / pixel_aspect)
    if rules.crop_kind == "three":
        return three_crop(rules, index, height, width)
    return _CROPS[rules.crop_kind](rules, key, height, width)


def _largest_box(rules: SamplingRules, height: int, width: int) -> tuple[float, float]:
    """Height and width of the largest box with the view's aspect; for a square view both are the short side."""
    return min(height, width / rules.view_aspect), min(width, height * rules.view_aspect)


def center_crop(rules: SamplingRules, key: tuple[int, ...], height: int, width: int) -> Crop:
    """The largest box with the view's aspect, scaled by ``center_ratio`` and centered."""
    box_height, box_width = _largest_box(rules, height, width)
    return _centered(box_height * rules.center_ratio, box_width * rules.center_ratio, height, width)


def three_crop(rules: SamplingRules, index: int, height: int, width: int) -> Crop:
    """The largest box with the view's aspect, at the start (left or top), middle or end of the side it does not fill.

    A square view takes the full short side, as SlowFast (arXiv:1812.03982) and Video Swin (arXiv:2106.13230) do in
    testing. ``center_ratio`` does not apply.
    """
    box = _centered(*_largest_box(rules, height, width), height, width)
    y, x = ((0, box.y, height - box.height)[index], (0, box.x, width - box.width)[index])
    return box._replace(y=y, x=x)


def multi_scale_crop(rules: SamplingRules, key: tuple[int, ...], height: int, width: int) -> Crop:
    """Scale height and width of the largest box separately and put it at one of 13 positions.

    The two scales are at most ``max_scale_steps_apart`` steps apart in ``scales``. A position is (y, x) in quarters of
    the free space: both even (9 of them) or both odd (4).
    """
    box_height, box_width = _largest_box(rules, height, width)
    indices = range(len(rules.scales))
    pairs = [(i, j) for i in indices for j in indices if abs(i - j) <= rules.max_scale_steps_apart]
    which_pair, which_place = uniform(*key, np.arange(2))
    i, j = pairs[int(which_pair * len(pairs))]
    crop_height = max(1, int(box_height * rules.scales[i]))
    crop_width = max(1, int(box_width * rules.scales[j]))
    quarters = [(a, b) for a in range(5) for b in range(5) if a % 2 == b % 2]
    a, b = quarters[int(which_place * len(quarters))]
    return Crop((height - crop_height) * a // 4, (width - crop_width) * b // 4, crop_height, crop_width)


def random_resized_crop(rules: SamplingRules, key: tuple[int, ...], height: int, width: int) -> Crop:
    """A crop of random area and aspect (log-uniform, times the view's), as in torchvision's RandomResizedCrop.

    After ten tries that do not fit: the largest centered box whose aspect is nearest to the allowed range.
    """
    low, high = (math.log(value * rules.view_aspect) for value in rules.aspect_ratio)
    for attempt in range(10):
        of_area, of_aspect, of_y, of_x = uniform(*key, attempt, np.arange(4))
        area = height * width * (rules.area[0] + of_area * (rules.area[1] - rules.area[0]))
        aspect = math.exp(low + of_aspect * (high - low))
        crop_height, crop_width = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < crop_height <= height and 0 < crop_width <= width:
            y, x = int(of_y * (height - crop_height + 1)), int(of_x * (width - crop_width + 1))
            return Crop(y, x, crop_height, crop_width)
    aspect = min(max(width / height, math.exp(low)), math.exp(high))
    return _centered(min(height, width / aspect), min(width, height * aspect), height, width)


def _centered(crop_height: float, crop_width: float, height: int, width: int) -> Crop:
    rounded_height, rounded_width = max(1, round(crop_height)), max(1, round(crop_width))
    return Crop((height - rounded_height) // 2, (width - rounded_width) // 2, rounded_height, rounded_width)


_CROPS = {"multi_scale": multi_scale_crop, "random_resized": random_resized_crop, "center": center_crop}
