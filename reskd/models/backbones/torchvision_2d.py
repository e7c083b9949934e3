"""torchvision's networks up to their last feature map, wrapped, not copied."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn
from torchvision.models import get_model

from reskd.models.config import StageStrides


def build_backbone(name: str, *, stage_strides: StageStrides | None = None) -> tuple[nn.Sequential, int]:
    """(network, feature_dim): images_BCHW -> features_BDhw, with torchvision's parameter names and random weights.

    Args:
        name: see BackboneName.
        stage_strides: of a ResNet's four stages; None leaves torchvision's (1, 2, 2, 2).
    """
    network = get_model(name, weights=None)
    if name == "mobilenet_v2":
        return nn.Sequential(OrderedDict(features=network.features)), network.last_channel
    if stage_strides is not None:
        for number, stride in enumerate(stage_strides, start=1):
            _set_stride(getattr(network, f"layer{number}")[0], stride)
    parts = OrderedDict((name, part) for name, part in network.named_children() if name not in ("avgpool", "fc"))
    return nn.Sequential(parts), network.fc.in_features


def stage_ends(name: str) -> list[str]:
    """Names of the modules of ``build_backbone(name)`` that end a stage, in order; see ``TimmBackbone.stage_ends``."""
    if name == "mobilenet_v2":
        return [f"features.{number}" for number in (3, 6, 13, 18)]
    return ["layer1", "layer2", "layer3", "layer4"]


def _set_stride(block: nn.Module, stride: int) -> None:
    """A stage strides only in its first block: at the 3x3 convolution and at the projection beside it."""
    is_bottleneck = hasattr(block, "conv3")
    convolution = block.conv2 if is_bottleneck else block.conv1
    assert isinstance(convolution, nn.Conv2d)
    convolution.stride = (stride, stride)
    if block.downsample is not None:
        projection = block.downsample[0]  # type: ignore[index]
        assert isinstance(projection, nn.Conv2d)
        projection.stride = (stride, stride)
    block.stride = stride  # type: ignore[assignment]
