"""Recognisers whose backbone goes over space and time: SlowOnly and Video Swin.

Shape letters: N clips, T frames, C = 3 colours, D feature channels, H W heights and widths.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reskd.models.config import SlowOnlyConfig, SwinConfig
from reskd.models.pixel_recognizer import PooledRecognizer
from reskd.models.recognizer import Shape
from reskd.models.slow_only import build_slow_only
from reskd.models.swin import PATCH_FRAMES, build_swin


class ClipRecognizer(PooledRecognizer):
    """A whole clip at once through a backbone that has an axis for time."""

    def __init__(self, config: SlowOnlyConfig | SwinConfig, num_classes: int) -> None:
        if isinstance(config, SwinConfig):
            backbone, feature_dim = build_swin(config)
        else:
            backbone, feature_dim = build_slow_only(config.backbone)
        super().__init__(
            config, num_classes, backbone=backbone, feature_dim=feature_dim, memory_format=torch.channels_last_3d
        )
        self.frames_per_feature = PATCH_FRAMES if isinstance(config, SwinConfig) else 1

    def features(self, normalised_NTHWC: Tensor) -> Tensor:
        features_NDTHW: Tensor = self.backbone(normalised_NTHWC.permute(0, 4, 1, 2, 3))
        return features_NDTHW.transpose(1, 2)

    def num_feature_frames(self, num_frames: int) -> int:
        return num_frames // self.frames_per_feature

    def check_shape(self, shape: Shape) -> None:
        super().check_shape(shape)
        num_frames = shape[0]
        if num_frames % self.frames_per_feature:
            # torchvision would append a blank frame, which no published network has seen.
            raise ValueError(
                f"frames: expected a multiple of {self.frames_per_feature} frames a clip, as many as a patch has, "
                f"found {num_frames}; show this network {num_frames + 1}."
            )
