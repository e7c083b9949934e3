"""timm's networks as frame backbones: their maps are timm's own, and every parameter has a gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from reskd.models.backbones.frame_backbone import build_frame_backbone
from reskd.models.backbones.timm_2d import TimmBackbone
from reskd.models.config import parse_recognizer
from reskd.models.families.registry import build_recognizer
from reskd.profiling.flops import count_recognizer

pytest.importorskip("timm")

torch.set_num_threads(1)

# Name -> (D, pixels for one location): convolutions, layers after pooling, channels last, tokens with a prefix.
NETWORKS = {
    "tf_efficientnet_lite0": (1280, 32),
    "resnet18": (512, 32),
    "mobilenetv3_small_050": (288, 32),
    "convnext_atto": (320, 32),
    "swin_tiny_patch4_window7_224": (768, 32),
    "vit_tiny_patch16_224": (192, 16),
    "xcit_nano_12_p8_224": (128, 8),
}


def images(height: int = 64, width: int = 96) -> torch.Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1)).to(
        memory_format=torch.channels_last
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_the_map_is_timms_own_and_all_parameters_learn(name: str) -> None:
    torch.manual_seed(0)
    feature_dim, step = NETWORKS[name]
    network, found_dim = build_frame_backbone(f"timm/{name}")
    assert isinstance(network, TimmBackbone)
    features_BDHW = network.eval()(images())
    assert tuple(features_BDHW.shape) == (2, feature_dim, 64 // step, 96 // step) and found_dim == feature_dim
    assert features_BDHW.is_contiguous(memory_format=torch.channels_last)
    features_BDHW.square().sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []
    assert _as_map(network.network.forward_features(images()), feature_dim).equal(features_BDHW)


def _as_map(found: Any, feature_dim: int) -> torch.Tensor:
    """timm's result as BDHW."""
    if found.ndim == 3:
        num_locations = found.shape[1] // 2 * 2  # without the class token
        step = round((64 * 96 / num_locations) ** 0.5)
        found = found[:, found.shape[1] - num_locations :].reshape(2, 64 // step, 96 // step, feature_dim)
    return found if found.shape[1] == feature_dim else found.permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mixer_s16_224", r"takes pictures of any size, found one of 224 x 224 only \(Input height .*\); choose"),
        ("crossvit_9_240", "expected a network with a feature map, found a list"),
        ("resnet17", "did you mean timm/resnet18"),
    ],
)
def test_networks_without_a_map_or_of_one_size_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TimmBackbone(f"timm/{name}")


def test_a_size_that_the_network_does_not_take_is_refused_before_a_clip_is_read() -> None:
    config = parse_recognizer({"backbone": "timm/vit_small_patch14_dinov2"})
    with torch.device("meta"):
        model = build_recognizer(config, 5)
    model.check_shape((4, 98, 140))
    with pytest.raises(
        ValueError, match=r"timm/vit_small_patch14_dinov2 takes, found 96 x 98 \(.*14\)\); choose another"
    ):
        model.check_shape((4, 96, 98))


@pytest.mark.parametrize("family", ["tsn", "aggregated"])
def test_recognizers_of_both_families_take_them(family: str) -> None:
    settings: dict[str, Any] = {"family": family, "backbone": "timm/mobilenetv3_small_050"}
    if family == "aggregated":
        settings |= {"aggregator": {"kind": "mean"}, "classifier": {"kind": "linear"}}
    model = build_recognizer(parse_recognizer(settings), 5)
    output = model(torch.zeros(2, 3, 64, 64, 3, dtype=torch.uint8))
    assert output.logits_NK.shape == (2, 5) and output.features_NTDHW.shape == (2, 3, 288, 2, 2)


@pytest.mark.parametrize(
    ("name", "gmacs"), [("tf_efficientnet_lite0", 0.385), ("resnet50", 4.09), ("vit_tiny_patch16_224", 1.25)]
)
def test_operations_are_counted(name: str, gmacs: float) -> None:
    """Against timm's benchmark tables, which count convolutions and matrix products: 0.4, 4.1 and 1.3."""
    counted = count_recognizer(parse_recognizer({"backbone": f"timm/{name}"}), (1, 224, 224), num_classes=1000)
    assert counted.total / 1e9 == pytest.approx(gmacs, rel=0.01)
    assert "backbone.network.patch_embed" in counted.parts or "backbone.network.bn1" in counted.parts
    if not counted.attention_products:
        assert sum(part.macs for part in counted.parts.values()) == counted.total
