"""FrameRecognizer without a shift: what it computes, and what it refuses."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
import torchvision
from pydantic import ValidationError
from torch import Tensor

from reskd.losses.config import LossConfig, PixelLossConfig
from reskd.losses.distillation import DistillationLoss
from reskd.models.config import TsnConfig, parse_recognizer
from reskd.models.families.pixel_recognizer import FrameRecognizer
from reskd.models.families.registry import build_recognizer

torch.set_num_threads(1)
SMALL = ["resnet18", "mobilenet_v2"]


@cache
def _shared_model(backbone: str) -> FrameRecognizer:
    """Built once, in eval mode; a test that trains or fills a model builds its own."""
    torch.manual_seed(0)
    return build_recognizer(TsnConfig(backbone=backbone, head_init_std=0.1), 5).eval()


def _frames(num_clips: int, num_frames: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (num_clips, num_frames, height, width, 3), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("backbone", SMALL)
@torch.no_grad()
def test_answers_equal_torchvisions_own_network_averaged_over_frames(backbone: str) -> None:
    model = _shared_model(backbone)
    network = torchvision.models.get_model(backbone, weights=None, num_classes=5).eval()
    state = model.backbone.state_dict()
    missing = network.load_state_dict(state, strict=False).missing_keys
    linear = network.fc if backbone == "resnet18" else network.classifier[1]
    linear.load_state_dict(model.head.state_dict())
    assert {name.split(".")[0] for name in missing} <= {"fc", "classifier"}

    frames_NTHWC = _frames(2, 3, 64, 80)
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    images_BCHW = ((frames_NTHWC.float() - mean) / std).flatten(0, 1).permute(0, 3, 1, 2).contiguous()
    expected_NK = network(images_BCHW).unflatten(0, (2, 3)).mean(1)
    torch.testing.assert_close(model(frames_NTHWC).logits_NK, expected_NK, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("backbone", "feature_dim"),
    [
        *(("resnet18", 512), ("resnet34", 512)),
        *(("resnet50", 2048), ("resnet101", 2048), ("resnet152", 2048)),
        ("mobilenet_v2", 1280),
    ],
)
def test_every_backbone_builds_on_the_meta_device_without_reading_weights(backbone: str, feature_dim: int) -> None:
    with torch.device("meta"):
        model = build_recognizer(TsnConfig(backbone=backbone, weights="IMAGENET1K_V1"), 7)
        output = model(torch.empty(2, 3, 96, 64, 3, dtype=torch.uint8))
    assert model.feature_dim == feature_dim
    assert output.logits_NK.shape == (2, 7)
    assert output.features_NTDHW.shape == (2, 3, feature_dim, 3, 2)


@pytest.mark.parametrize("backbone", SMALL)
@pytest.mark.parametrize(("height", "width", "grid"), [(32, 32, (1, 1)), (33, 97, (2, 4)), (112, 56, (4, 2))])
@torch.no_grad()
def test_any_size_from_32_pixels(backbone: str, height: int, width: int, grid: tuple[int, int]) -> None:
    output = _shared_model(backbone)(_frames(1, 2, height, width))
    assert output.features_NTDHW.shape[-2:] == grid
    assert output.logits_NK.shape == (1, 5)
    assert output.logits_NK.isfinite().all()


@torch.no_grad()
def test_float_frames_give_what_uint8_frames_give_and_are_left_alone() -> None:
    frames_NTHWC = _frames(1, 2, 32, 32)
    as_float = frames_NTHWC.float()
    model = _shared_model("resnet18")
    assert torch.equal(model(as_float).logits_NK, model(frames_NTHWC).logits_NK)
    assert torch.equal(as_float, frames_NTHWC.float())


@torch.no_grad()
def test_clips_do_not_mix_and_frame_order_does_not_matter() -> None:
    model, frames_NTHWC = _shared_model("resnet18"), _frames(2, 3, 32, 32)
    together = model(frames_NTHWC)
    alone = model(frames_NTHWC[1:].flip(1))
    torch.testing.assert_close(together.logits_NK[1:], alone.logits_NK, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.features_NTDHW[1:].flip(1), alone.features_NTDHW, rtol=1e-4, atol=1e-4)


def test_head_starts_small_without_bias_and_the_statistics_are_not_saved() -> None:
    torch.manual_seed(0)
    model = build_recognizer(TsnConfig(backbone="resnet18"), 50)
    assert model.head.weight.std().item() == pytest.approx(0.001, rel=0.05)
    assert not model.head.bias.any()
    assert not any("pixel" in name for name in model.state_dict())


def test_dropout_acts_in_training_only() -> None:
    model = build_recognizer(TsnConfig(backbone="resnet18", head_init_std=1.0), 5).eval()
    frames_NTHWC = _frames(2, 2, 32, 32)
    assert torch.equal(model(frames_NTHWC).logits_NK, model(frames_NTHWC).logits_NK)
    model.dropout.train()
    assert not torch.equal(model(frames_NTHWC).logits_NK, model(frames_NTHWC).logits_NK)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_stage_strides_enlarge_the_feature_map_and_change_no_parameter(backbone: str) -> None:
    with torch.device("meta"):
        plain = build_recognizer(TsnConfig(backbone=backbone), 5)
        strided = build_recognizer(TsnConfig(backbone=backbone, stage_strides=(1, 1, 2, 2)), 5)
        frames_NTHWC = torch.empty(1, 2, 112, 112, 3, dtype=torch.uint8)
        assert plain(frames_NTHWC).features_NTDHW.shape[-2:] == (4, 4)
        assert strided(frames_NTHWC).features_NTDHW.shape[-2:] == (7, 7)
    shapes = [{name: value.shape for name, value in model.state_dict().items()} for model in (plain, strided)]
    assert shapes[0] == shapes[1]


@torch.no_grad()
def test_torchvisions_own_strides_written_out_change_nothing() -> None:
    torch.manual_seed(0)
    model = build_recognizer(TsnConfig(backbone="resnet18", stage_strides=(1, 2, 2, 2), head_init_std=0.1), 5)
    frames_NTHWC = _frames(1, 2, 64, 64)
    assert torch.equal(model.eval()(frames_NTHWC).logits_NK, _shared_model("resnet18")(frames_NTHWC).logits_NK)


@pytest.mark.parametrize("backbone", SMALL)
def test_channels_last_learns_what_the_contiguous_format_learns(backbone: str) -> None:
    """Total loss and every parameter's gradient, with both terms, in fp64 so that only a fault can differ."""
    torch.manual_seed(0)
    model = build_recognizer(TsnConfig(backbone=backbone, dropout=0, head_init_std=0.1), 5).double()
    frames_NTHWC, labels_N = _frames(2, 2, 64, 64).double(), torch.tensor([3, 1])
    with torch.no_grad():
        taught = _shared_model(backbone)(_frames(2, 2, 96, 96))
    loss = DistillationLoss(LossConfig(pixel=PixelLossConfig(alpha=100)))
    results = []
    for memory_format in (torch.channels_last, torch.contiguous_format):
        model.to(memory_format=memory_format).zero_grad()
        total = loss(model(frames_NTHWC), labels_N, taught).total
        total.backward()
        results.append([total.detach(), *(value.grad for value in model.parameters() if value.grad is not None)])
    assert len(results[0]) == 1 + len(list(model.parameters()))
    for channels_last, contiguous in zip(*results, strict=True):
        torch.testing.assert_close(channels_last, contiguous, rtol=1e-6, atol=1e-8)


def test_bf16_autocast_trains_every_parameter() -> None:
    model = build_recognizer(TsnConfig(backbone="resnet18"), 5)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(_frames(2, 2, 64, 64))
        terms = DistillationLoss(LossConfig())(output, torch.tensor([0, 1]), None)
    assert output.features_NTDHW.dtype == torch.bfloat16
    terms.total.backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in model.parameters())


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 3, 31, 64, 3), r"expected 32 x 32 pixels or more, found 31 x 64"),
        ((2, 3, 64, 64), r"expected \(N, T, H, W, 3\).*found \(2, 3, 64, 64\)"),
        ((2, 3, 3, 64, 64), r"expected \(N, T, H, W, 3\).*found \(2, 3, 3, 64, 64\)"),
        ((2, 0, 64, 64, 3), r"none of them 0, found \(2, 0, 64, 64, 3\)"),
    ],
)
def test_wrong_frames_are_named(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _shared_model("resnet18")(torch.zeros(shape, dtype=torch.uint8))


def test_no_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="num_classes: expected 1 or more, found 0"):
        build_recognizer(TsnConfig(backbone="resnet18"), 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": "resnet19"}, "backbone"),
        ({"backbone": "mobilenet_v2", "stage_strides": (1, 2, 2, 2)}, "expected a ResNet or timm/NAME"),
        ({"backbone": "resnet18", "stage_strides": (2, 2, 2, 2)}, "expected 1 for the first stage of resnet18"),
        ({"backbone": "resnet50", "stage_strides": (1, 2, 3, 2)}, "stage_strides"),
        ({"backbone": "resnet50", "stage_strides": (1, 2, 2)}, "stage_strides"),
        ({"backbone": "resnet18", "pixel_std": (1, 0, 1)}, "pixel_std"),
        ({"backbone": "resnet18", "dropout": 1.0}, "dropout"),
        ({"backbone": "resnet18", "weight": "none"}, "weight"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        parse_recognizer(settings)
