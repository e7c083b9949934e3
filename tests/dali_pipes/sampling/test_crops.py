from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import RandomResizedCrop

from dali_pipes.sampling.crops import Crop, center_crop, choose_crop, multi_scale_crop, random_resized_crop, three_crop
from dali_pipes.sampling.spec import TestViews, rules_from_config
from dali_pipes.sampling_config import CenterCropConfig, MultiScaleCropConfig, RandomResizedCropConfig, SamplingConfig

RULES = rules_from_config(SamplingConfig(test_crop_ratio=0.875), view_size=(8, 8), mode="eval")


@pytest.mark.parametrize(
    ("aspect", "height", "width", "expected"),
    [
        (1.0, 256, 340, Crop(16, 58, 224, 224)),
        (1.0, 340, 256, Crop(58, 16, 224, 224)),
        (2.0, 256, 340, Crop(53, 21, 149, 298)),  # the box is 170 x 340
        (1.0, 1, 1, Crop(0, 0, 1, 1)),
    ],
)
def test_center_crop_is_a_share_of_the_largest_box(aspect: float, height: int, width: int, expected: Crop) -> None:
    assert center_crop(replace(RULES, view_aspect=aspect), (0,), height, width) == expected


def test_multi_scale_crop_takes_every_allowed_size_and_all_13_places() -> None:
    rules = replace(RULES, crop_kind="multi_scale", scales=(1.0, 0.875, 0.75, 0.66), max_scale_steps_apart=1)
    crops = [multi_scale_crop(rules, (0, number), 256, 340) for number in range(4000)]
    sides = [256, 224, 192, 168]
    sizes = Counter((crop.height, crop.width) for crop in crops)
    assert set(sizes) == {(sides[i], sides[j]) for i in range(4) for j in range(4) if abs(i - j) <= 1}
    assert min(sizes.values()) > 0.7 * 4000 / 10
    indices = Counter(
        (4 * crop.y // (256 - 192), 4 * crop.x // (340 - 192)) for crop in crops if crop[2:] == (192, 192)
    )
    assert set(indices) == {(a, b) for a in range(5) for b in range(5) if a % 2 == b % 2}


def test_random_resized_crops_are_distributed_as_torchvision_s() -> None:
    area, aspect_ratio, num_draws = (0.08, 1.0), (3 / 4, 4 / 3), 3000
    rules = replace(RULES, crop_kind="random_resized", area=area, aspect_ratio=aspect_ratio)
    ours = np.array([random_resized_crop(rules, (0, number), 240, 320) for number in range(num_draws)])
    torch.manual_seed(0)
    picture = torch.zeros(1, 240, 320)
    theirs = np.array([RandomResizedCrop.get_params(picture, list(area), list(aspect_ratio)) for _ in range(num_draws)])
    assert (ours[:, :2] >= 0).all() and (ours[:, :2] + ours[:, 2:] <= (240, 320)).all()
    for share in (0.02, 0.25, 0.5, 0.75, 0.98):
        difference = np.quantile(ours, share, axis=0) - np.quantile(theirs, share, axis=0)
        assert np.abs(difference).max() <= 10, share


def test_random_resized_crop_falls_back_to_the_middle() -> None:
    rules = replace(RULES, crop_kind="random_resized", area=(0.9, 1.0), aspect_ratio=(1.0, 1.0))
    assert random_resized_crop(rules, (0,), 10, 100) == Crop(0, 45, 10, 10)


@pytest.mark.parametrize(
    ("aspect", "height", "width", "expected"),
    [
        (1.0, 256, 340, [(0, 0, 256, 256), (0, 42, 256, 256), (0, 84, 256, 256)]),
        (1.0, 340, 256, [(0, 0, 256, 256), (42, 0, 256, 256), (84, 0, 256, 256)]),
        (2.0, 256, 340, [(0, 0, 170, 340), (43, 0, 170, 340), (86, 0, 170, 340)]),
        (0.5, 256, 340, [(0, 0, 256, 128), (0, 106, 256, 128), (0, 212, 256, 128)]),
        (1.0, 7, 7, [(0, 0, 7, 7)] * 3),
    ],
)
def test_three_crops_lie_along_the_side_that_they_do_not_fill(
    aspect: float, height: int, width: int, expected: list[tuple[int, ...]]
) -> None:
    rules = replace(RULES, crop_kind="three", view_aspect=aspect)
    assert [three_crop(rules, index, height, width) for index in range(3)] == expected
    assert [choose_crop(rules, (0,), height, width, index=index) for index in range(3)] == expected


SIDES = st.integers(1, 700)


@given(height=SIDES, width=SIDES, view=st.sampled_from([(224, 224), (112, 224), (96, 40)]), words=st.integers(0, 999))
@settings(max_examples=150, deadline=None)
def test_every_crop_lies_in_the_picture(height: int, width: int, view: tuple[int, int], words: int) -> None:
    kinds = (MultiScaleCropConfig(), RandomResizedCropConfig(), CenterCropConfig())
    trained = [rules_from_config(SamplingConfig(crop=kind), view_size=view, mode="train") for kind in kinds]
    tested = rules_from_config(SamplingConfig(), view_size=view, mode="eval", test_views=TestViews(1, 3))
    crops = [choose_crop(rules, (words,), height, width) for rules in trained]
    for crop in crops + [choose_crop(tested, (), height, width, index=index) for index in range(3)]:
        assert crop.height >= 1 and crop.width >= 1 and crop.y >= 0 and crop.x >= 0
        assert crop.y + crop.height <= height and crop.x + crop.width <= width


@given(height=SIDES, width=SIDES, view=st.sampled_from([(224, 224), (112, 224), (96, 40)]))
@settings(max_examples=150, deadline=None)
def test_three_crops_are_never_stretched_and_miss_nothing_they_could_show(
    height: int, width: int, view: tuple[int, int]
) -> None:
    rules = rules_from_config(SamplingConfig(), view_size=view, mode="eval", test_views=TestViews(1, 3))
    crops = [choose_crop(rules, (), height, width, index=index) for index in range(3)]
    aspect = view[1] / view[0]
    for crop in crops:
        assert crop.height == height or crop.width == width
        # Whole pixels: each side is at most half a pixel off, but at least one pixel.
        assert crop.height in (1, height) or abs(crop.height - crop.width / aspect) <= 0.5 + 0.5 / aspect
        assert crop.width in (1, width) or abs(crop.width - crop.height * aspect) <= 0.5 + 0.5 * aspect
    assert (crops[0].y, crops[0].x) == (0, 0)
    assert (crops[2].y + crops[2].height, crops[2].x + crops[2].width) == (height, width)
    assert all(abs(2 * b - a - c) <= 1 for a, b, c in zip(*crops, strict=True))


KINDS = {
    "center": {},
    "three": {},
    "multi_scale": {"scales": (1.0, 0.75), "max_scale_steps_apart": 1},
    "random_resized": {"area": (0.1, 1.0), "aspect_ratio": (3 / 4, 4 / 3)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_square_pixels_are_cropped_as_if_there_were_no_other(kind: str) -> None:
    rules = replace(RULES, crop_kind=kind, **KINDS[kind])
    for number in range(50):
        plain = choose_crop(rules, (number,), 97, 130, index=number % 3)
        assert choose_crop(rules, (number,), 97, 130, index=number % 3, pixel_aspect=1.0) == plain
        stored = replace(rules, pixel_aspect="stored")
        assert choose_crop(stored, (number,), 97, 130, index=number % 3, pixel_aspect=16 / 11) == plain


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("aspect", [0.25, 10 / 11, 16 / 15, 2.0])
@pytest.mark.parametrize("view_aspect", [1.0, 1.5])
def test_other_pixels_are_cropped_as_the_picture_shown_would_be(kind: str, aspect: float, view_aspect: float) -> None:
    """The shown picture of 600 x 800 * aspect square pixels is cropped, and its box converted to stored pixels."""
    rules = replace(RULES, crop_kind=kind, view_aspect=view_aspect, **KINDS[kind])
    height, width = 600, 800
    for number in range(30):
        y, x, tall, wide = choose_crop(rules, (number,), height, width, index=number % 3, pixel_aspect=aspect)
        shown = choose_crop(rules, (number,), height, round(width * aspect), index=number % 3)
        assert (y, tall) == pytest.approx((shown.y, shown.height), abs=2)
        assert (x * aspect, wide * aspect) == pytest.approx((shown.x, shown.width), abs=2 + 2 * aspect)
        assert 0 <= y <= y + tall <= height and 0 <= x <= x + wide <= width


def test_three_crops_lie_along_the_longer_side_as_shown() -> None:
    three = replace(RULES, crop_kind="three")
    # 120 x 100 pixels of aspect 2 are shown wider than high; of aspect 1 higher than wide.
    wide = [choose_crop(three, (), 120, 100, index=index, pixel_aspect=2.0) for index in range(3)]
    assert wide == [Crop(0, 0, 120, 60), Crop(0, 20, 120, 60), Crop(0, 40, 120, 60)]
    assert [choose_crop(three, (), 120, 100, index=index).y for index in range(3)] == [0, 10, 20]


def test_the_largest_box_of_a_known_format() -> None:
    """PAL DV: 720 x 576 pixels of aspect 16:15 are shown as 768 x 576."""
    whole = replace(RULES, center_ratio=1.0)
    assert choose_crop(whole, (), 576, 720, pixel_aspect=16 / 15) == Crop(0, 90, 576, 540)
