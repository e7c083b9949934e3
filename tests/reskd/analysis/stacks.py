"""Recognizers whose backbone is a few known layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reskd.models.config import RecognizerConfig, TsmConfig, TsnConfig
from reskd.models.families.pixel_recognizer import PixelRecognizer
from reskd.models.families.registry import build_recognizer


class EveryFrame(nn.Module):
    """Layers over each frame, and if given ``before``, a layer over the frame before it, whose maps are added."""

    def __init__(self, *layers: nn.Module, before: nn.Module | None = None) -> None:
        super().__init__()
        self.layers, self.before = nn.Sequential(*layers), before

    def forward(self, images_BCHW: Tensor) -> Tensor:
        features_BDhw: Tensor = self.layers(images_BCHW)
        return features_BDhw if self.before is None else features_BDhw + self.before(images_BCHW.roll(1, 0))


def convolution(kernel_33: Tensor) -> nn.Conv2d:
    """The same 3 x 3 kernel from each color to each of 3 channels, without bias."""
    layer = nn.Conv2d(3, 3, 3, padding=1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(kernel_33.expand(3, 3, 3, 3))
    return layer


def recognizer(config: RecognizerConfig, backbone: nn.Module, *, num_classes: int = 4) -> PixelRecognizer:
    """A recognizer of 3 feature channels with this backbone, in eval mode."""
    model = build_recognizer(config, num_classes)
    assert isinstance(model, PixelRecognizer)
    model.backbone = backbone
    return model.eval()


def tsn(*layers: nn.Module) -> PixelRecognizer:
    """A TSN of these layers; its head is still that of a ResNet-18, which takes 512 channels."""
    return _with_head(recognizer(TsnConfig(backbone="resnet18", weights="none"), EveryFrame(*layers)))


def mixing(layer: nn.Module, before: nn.Module) -> PixelRecognizer:
    """Of a family that mixes frames: each map sees its frame by ``layer`` and the one before by ``before``."""
    config = TsmConfig(family="tsm", backbone="resnet18", weights="none")
    return _with_head(recognizer(config, EveryFrame(layer, before=before)))


def _with_head(model: PixelRecognizer) -> PixelRecognizer:
    torch.manual_seed(1)
    model.head = nn.Linear(3, model.num_classes)
    return model
