from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from dali_pipes.augmentation.augmenter import apply_plans
from dali_pipes.augmentation.geometry import _random_levels
from dali_pipes.augmentation.plan import Step, rand_augment_step
from tests.dali_pipes.augmentation.test_color import smooth_clips

HEIGHT, WIDTH = 60, 90


def run(frames_nTHWC: Tensor, step: Step) -> Tensor:
    return apply_plans({"student": frames_nTHWC}, [(step,)] * len(frames_nTHWC))["student"]


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(
    ("name", "moved"),
    [
        ("rotate", {"angle": -15.0}),
        ("shear_x", {"shear": [math.degrees(math.atan(0.15)), 0.0], "center": [0, 0]}),
        ("shear_y", {"shear": [0.0, math.degrees(math.atan(0.15))], "center": [0, 0]}),
        ("translate_x", {"translate": [-150 / 331 / 2 * WIDTH, 0]}),
        ("translate_y", {"translate": [0, -150 / 331 / 2 * HEIGHT]}),
    ],
)
def test_maps_are_torchvision_s(name: Any, moved: dict[str, Any], sign: int) -> None:
    """In a picture that is not square: angles are as seen on the screen."""
    clips = smooth_clips(2, HEIGHT, WIDTH)
    found = run(clips, rand_augment_step(name, 0.5, sign, WIDTH / HEIGHT, 128))
    settings = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0], **moved}
    for key in ("angle", "translate", "shear"):
        value = settings[key]
        settings[key] = [sign * part for part in value] if isinstance(value, list) else sign * value
    planes = clips[:, 0].permute(0, 3, 1, 2)
    bilinear = InterpolationMode.BILINEAR
    expected = functional.affine(planes.float(), interpolation=bilinear, fill=128, **settings).permute(0, 2, 3, 1)
    inside = functional.affine(torch.ones_like(planes).float(), interpolation=bilinear, **settings).permute(0, 2, 3, 1)
    difference = (found[:, 0].float() - expected).abs()
    assert difference[inside == 1].max() <= 1
    # torchvision decides for picture or gray at the edge; we interpolate between them.
    assert torch.equal(found[:, 0][inside == 0], torch.full_like(found[:, 0][inside == 0], 128))
    assert (inside == 1).float().mean() > 0.5 and (inside == 0).any()


def test_a_map_that_moves_nothing_changes_nothing() -> None:
    clips = smooth_clips(2, 31, 45)
    for name in ("rotate", "shear_x", "shear_y", "translate_x", "translate_y"):
        assert torch.equal(run(clips, rand_augment_step(name, 0.0, 1, 45 / 31, 0)), clips)  # type: ignore[arg-type]


def test_all_frames_move_alike() -> None:
    clip = smooth_clips(1, 30, 40).expand(1, 3, 30, 40, 3).contiguous()
    found = run(clip, rand_augment_step("rotate", 0.7, 1, 4 / 3, 9))
    assert torch.equal(found[:, 0], found[:, 1]) and torch.equal(found[:, 0], found[:, 2])


def test_an_erased_rectangle_has_its_color_and_the_rest_stays() -> None:
    clip = smooth_clips(1, 20, 40).expand(1, 2, 20, 40, 3).contiguous()
    found = run(clip, Step("erase_color", (0.25, 0.5, 0.5, 0.25, 10, 20, 30)))
    expected = clip.clone()
    expected[:, :, 5:15, 20:30] = torch.tensor([10, 20, 30], dtype=torch.uint8)
    assert torch.equal(found, expected)


def test_noise_is_the_same_in_views_of_any_size_and_all_frames() -> None:
    """The student's pixels have one color each; the teacher's, twice as large, four of the same color."""
    step = Step("erase_noise", (0.0, 0.0, 1.0, 1.0, 12345, 12, 16))
    sizes = {"teacher": (24, 32), "student": (12, 16), "odd": (30, 40)}
    views = {name: torch.zeros(1, 2, *size, 3, dtype=torch.uint8) for name, size in sizes.items()}
    found = apply_plans(views, [(step,)])
    student, teacher = found["student"], found["teacher"]
    assert torch.equal(student[:, 0], student[:, 1])
    assert torch.equal(teacher, student.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert torch.equal(found["odd"].unique(), student.unique())
    other = run(views["student"], step._replace(values=(*step.values[:4], 12346, 12, 16)))
    assert (other != student).float().mean() > 0.98
    levels = torch.bincount(
        run(torch.zeros(1, 1, 64, 64, 3, dtype=torch.uint8), step._replace(values=(0, 0, 1, 1, 5, 64, 64)))
        .flatten()
        .int(),
        minlength=256,
    )
    assert levels.min() > 15 and levels.max() < 90  # 48 expected


def test_noise_is_splitmix64() -> None:
    """In Python's integers: the number-th output of the generator whose seed is the key."""
    numbers, key = np.arange(50), 987654321
    state = (key + (numbers + 1).astype(object) * 0x9E3779B97F4A7C15) % 2**64
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = np.array([(word ^ (word >> shift)) * factor % 2**64 for word in state], object)
    expected = [int(word ^ (word >> 31)) >> 56 for word in state]
    assert _random_levels(torch.tensor(key), torch.from_numpy(numbers)).tolist() == expected
