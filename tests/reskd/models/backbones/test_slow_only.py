"""SlowOnly: which kernels see time, and weights that start from an image network's."""

from __future__ import annotations

import pytest
import torch
import torchvision
from pydantic import ValidationError
from torch import nn

from reskd.models.backbones.slow_only import build_slow_only, inflate_state
from reskd.models.config import parse_recognizer
from tests.reskd.models.families.families import make, make_clips

torch.set_num_threads(1)


def test_only_the_first_convolutions_of_the_last_two_stages_see_time_and_nothing_strides_in_it() -> None:
    with torch.device("meta"):
        network, feature_dim = build_slow_only("resnet50")
        assert network(torch.empty(1, 3, 5, 64, 96)).shape == (1, 2048, 5, 2, 3)
    assert feature_dim == 2048
    convolutions = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv3d)}
    assert len(convolutions) == 53
    with_time = {name for name, module in convolutions.items() if module.kernel_size[0] == 3}
    assert with_time == {f"layer3.{block}.conv1" for block in range(6)} | {
        f"layer4.{block}.conv1" for block in range(3)
    }
    for name, module in convolutions.items():
        assert module.kernel_size == ((3, 1, 1) if name in with_time else (1, *module.kernel_size[1:]))
        assert module.padding[0] == (name in with_time)
        assert module.stride[0] == 1
    assert not any(isinstance(module, (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d)) for module in network.modules())


@pytest.mark.parametrize("backbone", ["resnet50", "resnet101", "resnet152"])
def test_names_and_shapes_are_torchvisions_but_for_time(backbone: str) -> None:
    with torch.device("meta"):
        network, _ = build_slow_only(backbone)
        flat = torchvision.models.get_model(backbone, weights=None).state_dict()
    for name, value in network.state_dict().items():
        shape = flat.pop(name).shape
        assert value.shape == (shape if len(shape) != 4 else (*shape[:2], value.shape[2], *shape[2:]))
    assert flat.keys() == {"fc.weight", "fc.bias"}


@torch.no_grad()
def test_an_inflated_network_sees_a_still_clip_as_its_image_network_sees_the_frame() -> None:
    torch.manual_seed(0)
    image_network = torchvision.models.resnet50()
    # With statistics and scales as after training: a fresh network's are all 0 and 1.
    for module in image_network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    network, _ = build_slow_only("resnet50")
    state = {name: value for name, value in image_network.state_dict().items() if not name.startswith("fc.")}
    network.load_state_dict(inflate_state(state, like=network.state_dict()))
    image_1CHW = torch.randn(1, 3, 64, 64)
    # Nine 3-frame kernels in a row carry the zeros beyond the ends nine frames inwards.
    clip_NCTHW = image_1CHW[:, :, None].expand(1, 3, 21, 64, 64)
    parts = (part for name, part in image_network.eval().named_children() if name not in ("avgpool", "fc"))
    expected_1DHW = nn.Sequential(*parts)(image_1CHW)
    features_NDTHW = network.eval()(clip_NCTHW)
    torch.testing.assert_close(features_NDTHW[:, :, 10], expected_1DHW, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(features_NDTHW[:, :, 0], expected_1DHW, rtol=1e-2, atol=1e-2)


def test_inflation_divides_kernels_and_leaves_everything_else() -> None:
    state = {
        "conv.weight": torch.full((2, 3, 1, 1), 6.0),
        "bn.weight": torch.ones(2),
        "unknown": torch.ones(1, 1, 1, 1),
    }
    like = {"conv.weight": torch.empty(2, 3, 3, 1, 1), "bn.weight": torch.empty(2)}
    inflated = inflate_state(state, like=like)
    assert torch.equal(inflated["conv.weight"], torch.full((2, 3, 3, 1, 1), 2.0))
    assert inflated["bn.weight"] is state["bn.weight"]
    assert inflated["unknown"] is state["unknown"]


@torch.no_grad()
def test_frames_see_each_other() -> None:
    model, frames_NTHWC = make("slow_only").eval(), make_clips(1, 4, 32, 32)
    changed_NTHWC = frames_NTHWC.clone()
    changed_NTHWC[:, 1] = 0
    before, after = (model(clip).features_NTDHW for clip in (frames_NTHWC, changed_NTHWC))
    assert all(not torch.equal(before[:, frame], after[:, frame]) for frame in range(4))


def test_a_fresh_network_starts_as_torchvisions_does() -> None:
    torch.manual_seed(0)
    network, _ = build_slow_only("resnet50")
    for name, fan_out in (("layer1.0.conv2", 64 * 9), ("layer4.0.conv1", 512 * 3)):
        weight = network.get_submodule(name).weight
        assert weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.02)


def test_a_network_without_bottlenecks_is_refused() -> None:
    with pytest.raises(ValidationError, match="backbone"):
        parse_recognizer({"family": "slow_only", "backbone": "resnet18"})
