"""A stage without its stride: the map is larger, every parameter stays, and what is kept apart is as before."""

from __future__ import annotations

import pytest
import torch

from reskd.models.backbones.timm_2d import TimmBackbone
from reskd.models.config import TsnConfig
from reskd.models.families.registry import build_recognizer

pytest.importorskip("timm")


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "mobilenetv3_small_050", "resnet18", "regnety_002"])
@pytest.mark.parametrize(
    ("strides", "side"), [((1, 2, 2, 2), 4), ((1, 1, 2, 2), 8), ((1, 2, 2, 1), 8), ((1, 1, 1, 1), 32)]
)
def test_a_stage_of_stride_1_enlarges_the_map_and_changes_no_parameter(
    name: str, strides: tuple[int, ...], side: int
) -> None:
    with torch.device("meta"):
        plain, strided = TimmBackbone(f"timm/{name}"), TimmBackbone(f"timm/{name}", stage_strides=strides)
        assert strided.eval()(torch.empty(1, 3, 128, 128)).shape[2:] == (side, side)
    assert {key: value.shape for key, value in plain.state_dict().items()} == {
        key: value.shape for key, value in strided.state_dict().items()
    }


@torch.no_grad()
def test_the_networks_own_strides_change_nothing() -> None:
    torch.manual_seed(0)
    plain = TimmBackbone("timm/tf_efficientnet_lite0").eval()
    strided = TimmBackbone("timm/tf_efficientnet_lite0", stage_strides=(1, 2, 2, 2)).eval()
    strided.load_state_dict(plain.state_dict())
    images_BCHW = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    assert torch.equal(plain(images_BCHW), strided(images_BCHW))


@pytest.mark.parametrize(
    ("name", "strides", "message"),
    [
        ("timm/vit_tiny_patch16_224", (1, 1, 2, 2), "expected a network whose stages reduce .*found timm/vit_tiny"),
        ("timm/tf_efficientnet_lite0", (2, 2, 2, 2), "expected 1 for the first stage of timm/tf_efficientnet_lite0"),
        ("timm/convnext_atto", (1, 1, 2, 2), r"convolutions of odd size, found Conv2d of size \(2, 2\)"),
        ("timm/swin_tiny_patch4_window7_224", (1, 1, 2, 2), "found no convolution"),
    ],
)
def test_networks_without_such_stages_are_refused(name: str, strides: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message), torch.device("meta"):
        build_recognizer(TsnConfig(backbone=name, stage_strides=strides), 5)
