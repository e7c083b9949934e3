from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dali_pipes.config import ViewsConfig
from dali_pipes.loader.cpu_render import render_plan

BOTH = {"teacher": {"size": (48, 80)}, "student": {"size": (24, 40)}}


def _frames(num_frames: int, height: int, width: int) -> list[np.ndarray]:
    """Parts of larger pictures of smooth noise, as decoding leaves them."""
    generator = np.random.default_rng(0)
    large = generator.integers(0, 255, (num_frames, height + 10, width + 20, 3))
    smooth = (large + np.roll(large, 1, 1) + np.roll(large, 1, 2) + np.roll(large, (1, 1), (1, 2))) // 4
    return list(smooth.astype(np.uint8)[:, 5 : 5 + height, 7 : 7 + width])


def _shrink(frames: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(frames.permute(0, 3, 1, 2).float(), size=size, mode="bilinear").permute(0, 2, 3, 1)


@pytest.mark.parametrize("crop", [(48, 80), (96, 160), (31, 57), (100, 81), (1, 1)])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    "student",
    [
        {"size": (24, 40)},
        {"size": (24, 40), "num_frames": 2},
        {"size": (24, 40), "source": "decoded"},
        {"size": (24, 40), "upsample_to_teacher": True},
    ],
)
def test_views_are_torchs_bilinear_resize_within_rounding(
    student: dict[str, Any], flip: bool, crop: tuple[int, int]
) -> None:
    views = ViewsConfig.model_validate({"teacher": {"size": (48, 80)}, "student": student})
    plan = render_plan(views, ("teacher", "student"))
    assert plan is not None
    frames = _frames(4, *crop)
    chosen = [0, 2] if "num_frames" in student else [0, 1, 2, 3]
    views_made = plan.render(frames, student_frames=chosen, flip=flip)
    rendered = {name: torch.from_numpy(view) for name, view in views_made.items()}
    source = torch.from_numpy(np.stack(frames))
    source = source.flip(2) if flip else source
    shrunk = _shrink((source if student.get("source") == "decoded" else rendered["teacher"])[chosen], (24, 40))
    if "upsample_to_teacher" in student:
        shrunk = _shrink(shrunk.round(), (48, 80))
    for name, expected in (("teacher", _shrink(source, (48, 80))), ("student", shrunk)):
        assert rendered[name].dtype == torch.uint8 and rendered[name].shape == expected.shape
        assert (rendered[name].float() - expected).abs().max() <= 1.5, name


def test_only_the_views_asked_for_are_made() -> None:
    views = ViewsConfig.model_validate(BOTH)
    plan = render_plan(views, ("student",))
    assert plan is not None
    assert list(plan.render(_frames(4, 30, 50), student_frames=range(4), flip=False)) == ["student"]


@pytest.mark.parametrize("view", ["teacher", "student"])
def test_an_antialiased_view_is_left_to_dali(view: str) -> None:
    views = {name: {**settings, "antialias": name == view} for name, settings in BOTH.items()}
    assert render_plan(ViewsConfig.model_validate(views), ("teacher",)) is None
