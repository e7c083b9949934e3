"""Evidence is the class activation map of a linear head, and Grad-CAM's map behind an aggregator."""

from __future__ import annotations

import pytest
import torch

from reskd.analysis.evidence import activation, class_evidence
from reskd.models.config import AggregatedConfig
from reskd.models.families.pixel_recognizer import PixelRecognizer
from reskd.models.families.registry import build_recognizer
from tests.reskd.analysis.stacks import convolution, tsn

FRAMES_THWC = torch.randint(0, 256, (2, 32, 34, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
VALID_T = torch.ones(2, dtype=torch.bool)


@pytest.fixture
def model() -> PixelRecognizer:
    return tsn(convolution(torch.rand(3, 3, generator=torch.Generator().manual_seed(0))))


@pytest.mark.parametrize("class_number", [0, 3])
def test_evidence_is_the_weighted_map_and_its_mean_the_logit_without_bias(
    model: PixelRecognizer, class_number: int
) -> None:
    found = class_evidence(model, FRAMES_THWC, VALID_T, class_number=class_number)
    features_TDHW = model(FRAMES_THWC[None]).features_NTDHW[0]
    weight_D = model.head.weight[class_number]
    expected_THW = torch.einsum("tdhw,d->thw", features_TDHW, weight_D).detach()
    torch.testing.assert_close(found.maps_Thw, expected_THW, rtol=1e-4, atol=1e-4)
    logit = found.logits_K[class_number] - model.head.bias[class_number].detach()
    assert found.maps_Thw.mean().item() == pytest.approx(logit.item(), rel=1e-4, abs=1e-4)
    assert found.class_number == class_number


def test_without_a_class_it_is_the_predicted_one(model: PixelRecognizer) -> None:
    found = class_evidence(model, FRAMES_THWC, VALID_T, class_number=None)
    assert found.class_number == int(found.logits_K.argmax())
    with_class = class_evidence(model, FRAMES_THWC, VALID_T, class_number=found.class_number)
    assert torch.equal(found.maps_Thw, with_class.maps_Thw)


def test_behind_an_aggregator_each_frame_has_the_map_of_grad_cam() -> None:
    torch.manual_seed(0)
    aggregator = {"kind": "netvlad", "num_clusters": 2, "hidden_dim": 4}
    config = AggregatedConfig.model_validate(
        {
            "family": "aggregated",
            "backbone": "resnet18",
            "weights": "none",
            "aggregator": aggregator,
            "classifier": {"kind": "linear"},
        }
    )
    model = build_recognizer(config, 3)
    assert isinstance(model, PixelRecognizer)
    model.eval()
    found = class_evidence(model, FRAMES_THWC, VALID_T, class_number=1)
    features_NTDHW = model(FRAMES_THWC[None], VALID_T[None]).features_NTDHW.detach().requires_grad_()
    logit = model.answer(features_NTDHW, VALID_T[None]).logits_NK[0, 1]
    gradient_NTDHW = torch.autograd.grad(logit, features_NTDHW)[0]
    weights_TD = gradient_NTDHW[0].mean((2, 3))
    expected_THW = torch.einsum("tdhw,td->thw", features_NTDHW[0].detach(), weights_TD)
    torch.testing.assert_close(found.maps_Thw, expected_THW * expected_THW.numel(), rtol=1e-3, atol=1e-4)


def test_activation_is_the_sum_of_squares(model: PixelRecognizer) -> None:
    features_TDHW = model(FRAMES_THWC[None]).features_NTDHW[0].detach()
    found = activation(model, FRAMES_THWC, VALID_T)
    torch.testing.assert_close(found.maps_Thw, features_TDHW.pow(2).sum(1))
