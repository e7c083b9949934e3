"""Folded networks give the same outputs, and what cannot be folded stays."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from reskd.models.batch_norm_folding import fold_batch_norms
from reskd.models.config import SlowOnlyConfig, SwinConfig, TsmConfig, TsnConfig
from reskd.models.families.registry import build_recognizer
from reskd.models.recognizer import Recognizer
from reskd.models.teacher import Teacher
from reskd.models.teacher_config import TeacherConfig
from reskd.outputs import RecognizerOutput
from reskd.profiling.flops import count_macs

torch.set_num_threads(1)
CONFIGS: dict[str, Any] = {
    "resnet18": TsnConfig(backbone="resnet18", head_init_std=0.1),
    "mobilenet_v2": TsnConfig(backbone="mobilenet_v2", head_init_std=0.1),
    "timm/tf_efficientnet_lite0": TsnConfig(backbone="timm/tf_efficientnet_lite0", head_init_std=0.1),
    "tsm": TsmConfig(family="tsm", backbone="resnet18", head_init_std=0.1),
    "slow_only": SlowOnlyConfig(family="slow_only", backbone="resnet50", head_init_std=0.1),
}


def _network(name: str) -> Recognizer:
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    torch.manual_seed(0)
    network = build_recognizer(CONFIGS[name], 5)
    network.train()
    for _ in range(3):  # running statistics of their own
        network(_clips(4))
    return network.requires_grad_(False).eval()


def _clips(num_clips: int = 2) -> Tensor:
    return torch.randint(0, 256, (num_clips, 2, 64, 64, 3), dtype=torch.uint8)


def _num_batch_norms(network: nn.Module) -> int:
    return sum(isinstance(module, _BatchNorm) for module in network.modules())


@pytest.mark.parametrize("name", CONFIGS)
def test_a_folded_network_gives_the_same_outputs_but_for_rounding(name: str) -> None:
    network = _network(name)
    network.gives_logit_map = network.gives_frame_logits = True
    clips, folded = _clips(), copy.deepcopy(network)
    assert fold_batch_norms(folded, clips) == _num_batch_norms(network) > 0
    assert _num_batch_norms(folded) == 0
    for value, expected in zip(folded(clips), network(clips), strict=True):
        if expected is not None:
            torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_folding_depends_on_no_batch_and_leaves_random_numbers_alone() -> None:
    one, other = _network("resnet18"), _network("resnet18")
    state = torch.get_rng_state()
    fold_batch_norms(one, torch.zeros(2, 2, 64, 64, 3, dtype=torch.uint8))
    assert torch.equal(torch.get_rng_state(), state)
    fold_batch_norms(other, torch.full((1, 2, 64, 64, 3), 255, dtype=torch.uint8))
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


class _Unusual(nn.Module):
    """Layers in an order that ``kind`` names, between pixels and a score."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.conv, self.other = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)
        self.norm.running_mean, self.norm.running_var = torch.tensor([50.0, -20, 3]), torch.tensor([4.0, 0.1, 9])

    def forward(self, data: Tensor, valid_NT: Tensor | None = None) -> RecognizerOutput:
        images_NCHW = data[:, 0].movedim(-1, 1).float()
        maps = self.conv(images_NCHW)
        if self.kind == "activated in place":
            maps = self.norm(maps.relu_())
        elif self.kind == "used twice":
            maps = maps + self.norm(maps)
        elif self.kind == "convolution runs twice":
            maps = self.norm(maps) + self.conv(images_NCHW)
        elif self.kind == "norm runs twice":
            maps = self.norm(maps) + self.norm(self.other(images_NCHW))
        elif self.kind == "norm first":
            maps = self.conv(self.norm(images_NCHW))
        return RecognizerOutput(maps.mean((2, 3)), maps[:, None])


@pytest.mark.parametrize(
    "kind", ["activated in place", "used twice", "convolution runs twice", "norm runs twice", "norm first"]
)
def test_what_cannot_be_folded_stays_as_it_was(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    network = _Unusual(kind).requires_grad_(False).eval()
    before = copy.deepcopy(network)
    assert fold_batch_norms(network, _clips()) == 0
    clips = _clips()
    assert torch.equal(network(clips).logits_NK, before(clips).logits_NK)
    assert list(network.state_dict()) == list(before.state_dict())
    assert bool(caplog.messages) == (kind in ("activated in place", "used twice"))


def test_batch_norm_that_normalizes_with_the_batch_is_not_folded() -> None:
    network = _network("resnet18")
    teacher = Teacher(copy.deepcopy(network), TeacherConfig(batch_norm="batch_stats"))
    teacher(_clips())
    assert _num_batch_norms(teacher) == _num_batch_norms(network)
    assert fold_batch_norms(network.train(), _clips()) == 0


def test_a_network_without_values_is_not_folded() -> None:
    with torch.device("meta"):
        network = build_recognizer(CONFIGS["resnet18"], 5).requires_grad_(False).eval()
    assert fold_batch_norms(network, _clips().to("meta")) == 0


def test_a_network_without_batch_norm_is_not_even_run() -> None:
    network = build_recognizer(SwinConfig(family="swin", backbone="swin3d_t"), 5)
    cast(Any, network).forward = None
    assert fold_batch_norms(network, _clips()) == 0


def test_counting_on_the_meta_device_first_keeps_nothing_from_being_folded() -> None:
    network = _network("resnet18")
    teacher = Teacher(network, TeacherConfig(batch_norm="running_stats"))
    count_macs(teacher, (2, 32, 32))
    assert _num_batch_norms(teacher) > 0
    teacher(_clips())
    assert _num_batch_norms(teacher) == 0
