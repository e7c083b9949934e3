"""What all families share."""

from __future__ import annotations

from typing import Any

import torch

from reskd.models.config import TsnConfig
from reskd.models.families.registry import build_recognizer
from reskd.models.recognizer import Recognizer


def _model(**settings: Any) -> Recognizer:
    torch.manual_seed(0)
    return build_recognizer(TsnConfig(backbone="resnet18", head_init_std=0.1, **settings), 5)


def _frames() -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, 64, 96, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_no_logit_map_unless_asked_for() -> None:
    assert _model().eval()(_frames()).logit_map_NTKHW is None


def test_the_mean_of_the_logit_map_is_the_logits() -> None:
    model = _model().eval()
    model.gives_logit_map = True
    torch.nn.init.normal_(model.head.bias)
    output = model(_frames())
    assert output.logit_map_NTKHW is not None
    assert output.logit_map_NTKHW.shape == (2, 3, 5, 2, 3)
    assert output.logit_map_NTKHW.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(output.logit_map_NTKHW.mean((1, 3, 4)), output.logits_NK)


def test_scores_of_frames_are_those_of_each_frame_alone() -> None:
    model = _model().eval()
    assert model(_frames()).frame_logits_NTK is None
    model.gives_frame_logits = True
    torch.nn.init.normal_(model.head.bias)
    output = model(_frames())
    assert output.frame_logits_NTK is not None and output.frame_logits_NTK.shape == (2, 3, 5)
    torch.testing.assert_close(output.frame_logits_NTK.mean(1), output.logits_NK)
    torch.testing.assert_close(output.frame_logits_NTK[:, 1], model(_frames()[:, 1:2]).logits_NK)


def test_the_logit_map_has_no_dropout_and_teaches_the_head() -> None:
    model = _model(dropout=0.9).train()
    model.backbone.eval()
    model.gives_logit_map = True
    maps = [model(_frames()).logit_map_NTKHW for _ in range(2)]
    assert torch.equal(maps[0], maps[1])
    maps[0].square().sum().backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in model.head.parameters())


def test_the_logit_map_follows_autocast_as_the_logits_do() -> None:
    model = _model()
    model.gives_logit_map = True
    with torch.autocast("cpu", torch.bfloat16):
        output = model(_frames())
    assert output.logit_map_NTKHW is not None
    assert output.logit_map_NTKHW.dtype == output.logits_NK.dtype == torch.bfloat16
