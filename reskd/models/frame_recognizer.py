"""Recognisers with a 2-D backbone: frame by frame and averaged (TSN, arXiv:1608.00859).

Shape letters: N clips, T frames, B = N * T, C = 3 colours, D feature channels, H W heights and widths.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reskd.models.backbones import build_backbone
from reskd.models.config import TsnConfig
from reskd.models.recognizer import Recognizer


class FrameRecognizer(Recognizer):
    """Every frame by itself through a 2-D backbone."""

    def __init__(self, config: TsnConfig, num_classes: int) -> None:
        backbone, feature_dim = build_backbone(config.backbone, stage_strides=config.stage_strides)
        super().__init__(
            config, num_classes, backbone=backbone, feature_dim=feature_dim, memory_format=torch.channels_last
        )

    def features(self, normalised_NTHWC: Tensor) -> Tensor:
        images_BCHW = normalised_NTHWC.flatten(0, 1).permute(0, 3, 1, 2)
        features_BDHW: Tensor = self.backbone(images_BCHW)
        return features_BDHW.unflatten(0, normalised_NTHWC.shape[:2])
