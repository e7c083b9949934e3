from __future__ import annotations

import pytest
import torch
from torch import nn

from reskd.models.backbones.blocks import block_names, layers_below_head
from reskd.models.backbones.timm_2d import TimmBackbone
from reskd.models.config import parse_recognizer
from reskd.models.families.registry import build_recognizer
from reskd.models.recognizer import Recognizer
from tests.reskd.models.families.families import FAMILIES

PIXELS = {
    "family": "aggregated",
    "backbone": "resnet18",
    "aggregator": {"kind": "h_rnn", "block_length": 2, "hidden_dim": 4},
    "classifier": {"kind": "linear"},
}
NUM_BLOCKS = {"tsn": 8, "tsn_mobilenet": 18, "tsm": 8, "slow_only": 16, "swin": 12, "swin_masked": 12}


def on_meta(settings: dict[str, object]) -> Recognizer:
    with torch.device("meta"):
        return build_recognizer(parse_recognizer(settings), 5)


@pytest.mark.parametrize("family", FAMILIES)
def test_stem_blocks_and_head_of_every_family_are_layers_in_order(family: str) -> None:
    model = on_meta(FAMILIES[family])
    assert len(block_names(model.backbone, "")) == NUM_BLOCKS[family]
    below = model.layers_below_head()
    assert below.keys() == dict(model.named_parameters()).keys()
    numbers = list(below.values())
    assert numbers == sorted(numbers, reverse=True)
    assert set(numbers) == set(range(NUM_BLOCKS[family] + 2))  # the stem is the deepest, the head 0
    assert below["head.weight"] == below["head.bias"] == 0


def test_layers_of_a_resnet_and_of_a_swin() -> None:
    below = on_meta(FAMILIES["tsn"]).layers_below_head()
    assert [below[f"backbone.{name}.weight"] for name in ("conv1", "bn1", "layer1.0.conv1", "layer4.1.bn2")] == [
        *(9, 9, 8, 1)
    ]
    below = on_meta(FAMILIES["swin"]).layers_below_head()
    assert below["backbone.patch_embed.proj.weight"] == 13
    # A merging of patches belongs to the block before it, the last norm to the last block.
    assert below["backbone.features.0.1.mlp.0.weight"] == below["backbone.features.1.reduction.weight"] == 11
    assert below["backbone.features.6.1.mlp.0.weight"] == below["backbone.norm.weight"] == 1


def test_an_aggregator_belongs_to_the_head() -> None:
    below = on_meta(PIXELS).layers_below_head()
    assert {name.split(".")[0] for name, number in below.items() if number == 0} == {"aggregator", "head"}
    assert {name.split(".")[0] for name, number in below.items() if number > 0} == {"backbone"}


@pytest.mark.parametrize(
    ("name", "num_blocks"),
    [("resnet18", 8), ("convnext_atto", 12), ("efficientnet_lite0", 16), ("vit_tiny_patch16_224", 12)],
)
def test_networks_of_timm_have_timms_layers(name: str, num_blocks: int) -> None:
    timm = pytest.importorskip("timm")
    from timm.models import group_parameters

    with torch.device("meta"):
        backbone = TimmBackbone(f"timm/{name}")
        whole = timm.create_model(name)
    assert len(block_names(backbone, name)) == num_blocks
    theirs = group_parameters(whole, whole.group_matcher(coarse=False), reverse=True)
    head = max(theirs.values())
    for parameter, below in layers_below_head(backbone, name).items():
        assert below == head - theirs[parameter.removeprefix("network.")], parameter


def test_a_network_of_timm_without_groups_is_refused() -> None:
    pytest.importorskip("timm")
    with torch.device("meta"):
        backbone = TimmBackbone("timm/resnet18")
    backbone.network = nn.Sequential(nn.Conv2d(3, 3, 1))
    for ask in (block_names, layers_below_head):
        with pytest.raises(ValueError, match="timm/odd: expected a network whose layers timm tells"):
            ask(backbone, "timm/odd")


def test_a_network_of_single_layers_has_no_blocks() -> None:
    pytest.importorskip("timm")
    with torch.device("meta"):
        backbone = TimmBackbone("timm/vgg11")
    with pytest.raises(ValueError, match="activation_checkpointing: expected a network whose blocks timm tells, found"):
        block_names(backbone, "timm/vgg11")
