"""Each operation on colors against torchvision's, which works on single frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.v2 import functional

from dali_pipes.augmentation.augmenter import OPERATIONS, apply_plans
from dali_pipes.augmentation.plan import Step, StepKind


def smooth_clips(*shape: int) -> Tensor:
    """uint8 (n, 1, H, W, 3) of soft blobs, with gray, black and white pixels."""
    n, height, width = shape
    generator = torch.Generator().manual_seed(7)
    coarse = torch.rand(n, 3, 5, 6, generator=generator) * 300 - 20
    frames = interpolate(coarse, size=(height, width), mode="bicubic").round().clamp(0, 255).to(torch.uint8)
    frames[:, :, 0, :4] = torch.tensor([0, 255, 128, 7], dtype=torch.uint8)
    return frames.permute(0, 2, 3, 1)[:, None].contiguous()


def run(kind: StepKind, frames_nTHWC: Tensor, *values: float) -> Tensor:
    return apply_plans({"student": frames_nTHWC}, [(Step(kind, values),)] * len(frames_nTHWC))["student"]


def by_torchvision(function: Callable[..., Tensor], frames_nTHWC: Tensor, *values: Any) -> Tensor:
    planes = frames_nTHWC.permute(0, 1, 4, 2, 3)
    return torch.stack([function(clip, *values) for clip in planes]).permute(0, 1, 3, 4, 2)


@pytest.mark.parametrize(
    ("kind", "function", "values"),
    [
        *[("brightness", functional.adjust_brightness, factor) for factor in (0.0, 0.1, 1.0, 1.9)],
        *[("contrast", functional.adjust_contrast, factor) for factor in (0.0, 0.1, 1.0, 1.9)],
        *[("saturation", functional.adjust_saturation, factor) for factor in (0.0, 0.1, 1.0, 1.9)],
        *[("sharpness", functional.adjust_sharpness, factor) for factor in (0.0, 0.1, 1.0, 1.9)],
        *[("hue", functional.adjust_hue, shift) for shift in (-0.5, -0.1, 0.0, 0.3, 0.5)],
        *[("posterize", functional.posterize, bits) for bits in (4, 7, 8)],
        *[("solarize", functional.solarize, level) for level in (0.0, 25.5, 128.0, 255.0)],
        ("auto_contrast", functional.autocontrast, None),
        ("equalize", functional.equalize, None),
    ],
)
def test_operations_are_torchvision_s(kind: StepKind, function: Callable[..., Tensor], values: float | None) -> None:
    clips = smooth_clips(3, 33, 47)
    arguments = () if values is None else (values,)
    found, expected = run(kind, clips, *arguments), by_torchvision(function, clips, *arguments)
    # torchvision rounds down, and so does its gray.
    most = 2 if kind == "saturation" else 1
    assert (found.int() - expected.int()).abs().max() <= most
    if kind in ("posterize", "solarize", "equalize"):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("kind", ["brightness", "contrast", "saturation", "sharpness", "hue"])
def test_the_neutral_value_changes_nothing(kind: StepKind) -> None:
    clips = smooth_clips(2, 20, 30)
    assert torch.equal(run(kind, clips, 0.0 if kind == "hue" else 1.0), clips)


@pytest.mark.parametrize("kind", ["auto_contrast", "equalize", "contrast"])
def test_a_clip_has_one_table_for_all_its_frames(kind: StepKind) -> None:
    dark, light = (torch.full((1, 1, 8, 8, 3), level, dtype=torch.uint8) for level in (50, 150))
    dark[..., :4, :], light[..., :4, :] = 60, 160
    clip = torch.cat([dark, light], 1)
    found = run(kind, clip, *([1.5] if kind == "contrast" else []))
    assert found[0, 0].float().mean() < found[0, 1].float().mean() - 90
    still = clip.flip(1)
    assert torch.equal(run(kind, still, *([1.5] if kind == "contrast" else [])), found.flip(1))


@pytest.mark.parametrize("kind", ["auto_contrast", "equalize", "hue", "sharpness"])
@pytest.mark.parametrize("level", [0, 90, 255])
def test_a_clip_of_one_color_stays(kind: StepKind, level: int) -> None:
    clip = torch.full((1, 2, 7, 5, 3), level, dtype=torch.uint8)
    assert torch.equal(run(kind, clip, 0.3), clip)


def test_views_of_a_pixel_have_nothing_to_sharpen() -> None:
    clip = smooth_clips(1, 2, 9)
    assert torch.equal(run("sharpness", clip, 1.9), clip)


def test_every_operation_keeps_shape_type_and_layout() -> None:
    clips = smooth_clips(2, 9, 7)
    values = torch.full((2, 7), 0.5, dtype=torch.float64)
    for operation in OPERATIONS.values():
        found = operation.apply(clips, operation.measure(clips, values))
        assert found.shape == clips.shape and found.dtype == torch.uint8 and found.is_contiguous()
