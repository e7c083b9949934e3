"""2-D backbones over every frame, of torchvision and of timm, by name."""

from __future__ import annotations

from torch import nn

from reskd.models.backbones.timm_2d import TimmBackbone
from reskd.models.backbones.torchvision_2d import build_backbone
from reskd.models.config import StageStrides
from reskd.models.timm_catalog import is_timm


def build_frame_backbone(name: str, *, stage_strides: StageStrides | None = None) -> tuple[nn.Module, int]:
    """(network, feature_dim): images_BCHW -> features_BDhw, with random weights.

    Args:
        name: of a torchvision network, or "timm/NAME".
        stage_strides: of the four stages, see ``TsnConfig``.

    Raises:
        ValueError: see ``TimmBackbone``.
    """
    if not is_timm(name):
        return build_backbone(name, stage_strides=stage_strides)
    network = TimmBackbone(name, stage_strides=stage_strides)
    return network, network.feature_dim
