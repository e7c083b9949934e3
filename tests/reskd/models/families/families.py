"""A small recognizer of every family, and clips for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from reskd.models.config import parse_recognizer
from reskd.models.families.registry import build_recognizer
from reskd.models.recognizer import Recognizer

NUM_CLASSES = 5
# The smallest network of each; there is no SlowOnly below 50 layers.
FAMILIES: dict[str, dict[str, Any]] = {
    "tsn": {"family": "tsn", "backbone": "resnet18"},
    "tsn_mobilenet": {"family": "tsn", "backbone": "mobilenet_v2"},
    "tsm": {"family": "tsm", "backbone": "resnet18"},
    "slow_only": {"family": "slow_only", "backbone": "resnet50"},
    "swin": {"family": "swin", "backbone": "swin3d_t"},
    "swin_masked": {"family": "swin", "backbone": "swin3d_t", "window": "masked"},
}


def make(family: str, **settings: Any) -> Recognizer:
    """The same weights every time, in training mode; a head whose answers differ."""
    torch.manual_seed(0)
    return build_recognizer(parse_recognizer({"head_init_std": 0.1} | FAMILIES[family] | settings), NUM_CLASSES)


def make_clips(num_clips: int, num_frames: int, height: int, width: int) -> Tensor:
    """frames_NTHWC, uint8; clip i is the same in every batch."""
    clips = []
    for number in range(num_clips):
        generator = torch.Generator().manual_seed(number)
        clips.append(torch.randint(0, 256, (num_frames, height, width, 3), dtype=torch.uint8, generator=generator))
    return torch.stack(clips)


def assert_alike(found: Tensor, expected: Tensor) -> None:
    """To 1e-5 of the largest value: a fresh network's scores may be hundreds, and kernels round as memory lies."""
    largest = expected.abs().max().item()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * largest)
