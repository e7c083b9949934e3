"""Recognisers with a 2-D backbone: frame by frame (TSN, arXiv:1608.00859), or with channels shifted in time (TSM).

Shape letters: N clips, T frames, B = N * T, C = 3 colours, D feature channels, H W heights and widths.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reskd.models.backbones import build_backbone
from reskd.models.config import TsmConfig, TsnConfig
from reskd.models.pixel_recognizer import PooledRecognizer
from reskd.models.temporal_shift import ClipLength, shift_residual_blocks


class FrameRecognizer(PooledRecognizer):
    """Every frame through a 2-D backbone, by itself or with some channels of the frames beside it."""

    def __init__(self, config: TsnConfig | TsmConfig, num_classes: int) -> None:
        stage_strides = config.stage_strides if isinstance(config, TsnConfig) else None
        backbone, feature_dim = build_backbone(config.backbone, stage_strides=stage_strides)
        super().__init__(
            config, num_classes, backbone=backbone, feature_dim=feature_dim, memory_format=torch.channels_last
        )
        self.clip: ClipLength | None = None
        if isinstance(config, TsmConfig):
            self.clip = shift_residual_blocks(backbone, shift_divisor=config.shift_divisor)

    def features(self, normalised_NTHWC: Tensor) -> Tensor:
        num_frames = normalised_NTHWC.shape[1]
        if self.clip is not None:
            self.clip.num_frames = num_frames
        images_BCHW = normalised_NTHWC.flatten(0, 1).permute(0, 3, 1, 2)
        features_BDHW: Tensor = self.backbone(images_BCHW)
        return features_BDHW.unflatten(0, (-1, num_frames))
