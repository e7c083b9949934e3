"""Recognizers whose head stands on a code: of features, and of pixels through a backbone."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from reskd.models.config import difference, parse_recognizer
from reskd.models.families.aggregated_recognizer import AggregatedRecognizer, FeatureRecognizer
from reskd.models.families.registry import build_recognizer
from reskd.models.recognizer import Recognizer
from reskd.profiling.resource_estimate import estimate_memory
from tests.reskd.models.families.aggregated import GROUPS, SETTINGS
from tests.reskd.models.families.families import assert_alike, make_clips

torch.set_num_threads(1)
HEADS: dict[str, dict[str, Any]] = {
    "linear": {"kind": "linear", "init_std": 0.1},
    "mixture_of_experts": {"kind": "mixture_of_experts"},
}


def feature_settings(aggregator: str, head: str = "linear", /, **settings: Any) -> dict[str, Any]:
    return {
        "family": "features",
        "groups": GROUPS,
        "aggregator": SETTINGS[aggregator],
        "classifier": HEADS[head],
        **settings,
    }


def _build(settings: dict[str, Any]) -> Recognizer:
    torch.manual_seed(0)
    return build_recognizer(parse_recognizer(settings), 5)


@cache
def _aggregated(aggregator: str, head: str = "linear") -> Recognizer:
    settings = {"aggregator": SETTINGS[aggregator], "classifier": HEADS[head]}
    return _build({"family": "aggregated", "backbone": "resnet18", **settings}).eval()


def _features(num_videos: int = 3, num_frames: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (num_videos, num_frames, 10), dtype=torch.uint8, generator=generator)


@torch.no_grad()
def test_features_are_dequantized_masked_and_of_unit_length_before_the_aggregator() -> None:
    model = _build(feature_settings("mean")).eval()
    assert isinstance(model, FeatureRecognizer)
    data_NTD = _features(1, 2)
    output = model(data_NTD, torch.tensor([[True, False]]))
    plain_D = data_NTD[0, 0].double() * 4 / 255 + 4 / 512 - 2
    assert output.embedding_NE is not None and output.features_NTDHW is None
    torch.testing.assert_close(output.embedding_NE[0].double(), plain_D / plain_D.norm(), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(output.logits_NK, model.head(output.embedding_NE))
    as_they_are = _build(feature_settings("mean", normalize_frames=False)).eval()
    assert_alike(as_they_are(data_NTD[:, :1]).embedding_NE[0].double(), plain_D)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("aggregator", SETTINGS)
def test_any_length_and_no_frame_at_all_on_features(aggregator: str, head: str) -> None:
    model = _build(feature_settings(aggregator, head)).eval()
    assert (model.feature_dim, model.num_classes) == (None, 5)
    for num_frames in (1, 4, 7):
        output = model(_features(num_frames=num_frames), torch.zeros(3, num_frames, dtype=torch.bool))
        assert output.embedding_NE is not None and output.embedding_NE.shape == (3, model.embedding_dim)
        assert output.logits_NK.isfinite().all()
        torch.testing.assert_close(output.logits_NK[0], output.logits_NK[1])  # a matrix product may round rows apart


@torch.no_grad()
def test_the_aggregated_code_is_of_the_means_of_the_maps_of_valid_frames() -> None:
    model = _aggregated("mean")
    assert isinstance(model, AggregatedRecognizer)
    valid_NT = torch.tensor([[True, True, False], [True, False, False]])
    output = model(make_clips(2, 3, 40, 64), valid_NT)
    assert output.features_NTDHW is not None and output.embedding_NE is not None
    assert output.features_NTDHW.shape == (2, 3, 512, 2, 2)
    means_NTD = output.features_NTDHW.mean((3, 4))
    assert_alike(output.embedding_NE, torch.stack([means_NTD[0, :2].mean(0), means_NTD[1, 0]]))
    assert (model.feature_dim, model.embedding_dim) == (512, 512)


@pytest.mark.parametrize("aggregator", ["h_rnn", "netvlad", "nextvlad"])
def test_clips_train_every_parameter_and_maps_and_gradients_stay_channels_last(aggregator: str) -> None:
    model = _build(
        {
            "family": "aggregated",
            "backbone": "resnet18",
            "aggregator": SETTINGS[aggregator] | ({"num_splits": 4} if aggregator == "nextvlad" else {}),
            "classifier": HEADS["mixture_of_experts"],
            "normalize_frames": True,
        }
    )
    gradients: list[Tensor] = []
    model.backbone.register_forward_hook(lambda _, __, maps: maps.register_hook(gradients.append) and None)
    output = model(make_clips(2, 3, 64, 64), torch.tensor([[True, True, True], [True, True, False]]))
    assert output.features_NTDHW is not None
    assert output.features_NTDHW.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    output.logits_NK.sum().backward()
    assert gradients[0].is_contiguous(memory_format=torch.channels_last)
    without = [
        name for name, value in model.named_parameters() if value.grad is None or not value.grad.isfinite().all()
    ]
    assert not without


def test_the_meta_device_builds_it_and_counts_memory() -> None:
    with torch.device("meta"):
        model = build_recognizer(parse_recognizer(feature_settings("nextvlad") | {"weights": "no file.pt"}), 5)
    need = estimate_memory(model, None, {"student": (20, 10)}, "fp32")
    assert need.bytes_per_clip > 20 * 20 * 4 * 3


def test_a_logit_map_is_refused_by_name() -> None:
    for model in (_build(feature_settings("mean")), _aggregated("mean")):
        with pytest.raises(ValueError, match=r"expected a network whose head takes the mean.*found family"):
            model.gives_logit_map = True
        with pytest.raises(ValueError, match=r"loss.frame needs the head's scores of every frame: expected a network"):
            model.gives_frame_logits = True
        assert not model.gives_logit_map and not model.gives_frame_logits


@pytest.mark.parametrize(
    ("data", "valid", "message"),
    [
        (torch.zeros(2, 3, 11), None, r"expected 10 per frame \(rgb 6, audio 4\), found 11; make the network's groups"),
        (torch.zeros(2, 3, 32, 32, 3), None, r"expected \(N, T, D\), none of them 0, found \(2, 3, 32, 32, 3\)"),
        (torch.zeros(2, 0, 10), None, r"none of them 0, found \(2, 0, 10\)"),
        (torch.zeros(2, 3, 10), torch.ones(2, 4, dtype=torch.bool), r"expected bool of shape \(2, 3\), one per frame"),
        (torch.zeros(2, 3, 10), torch.ones(2, 3), r"found torch.float32 of shape \(2, 3\)"),
    ],
)
def test_wrong_features_are_named(data: Tensor, valid: Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _build(feature_settings("mean"))(data, valid)


def test_views_of_the_other_kind_are_named() -> None:
    with pytest.raises(ValueError, match=r"expected a view of features, \(T, D\), found \(4, 64, 64\) of pixels"):
        _build(feature_settings("mean")).check_shape((4, 64, 64))
    with pytest.raises(ValueError, match=r"expected a view of pixels, \(T, H, W\), found \(4, 10\) of features"):
        _aggregated("mean").check_shape((4, 10))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"aggregator": SETTINGS["h_rnn"] | {"block_length": 2}}, ("aggregator.block_length", 3, 2)),
        ({"groups": {"audio": 4, "rgb": 6}}, ("groups", [["rgb", 6], ["audio", 4]], [["audio", 4], ["rgb", 6]])),
        ({"normalize_frames": False}, ("normalize_frames", True, False)),
        ({"classifier": HEADS["mixture_of_experts"]}, ("classifier.kind", "linear", "mixture_of_experts")),
        ({"classifier": {"kind": "logistic", "dropout": 0.3}, "weights_head": "new"}, None),
    ],
)
def test_settings_that_change_what_weights_answer_are_noticed(changes: dict[str, Any], found: Any) -> None:
    mine = parse_recognizer(feature_settings("h_rnn"))
    theirs = parse_recognizer(feature_settings("h_rnn", **changes)).model_dump(mode="json")
    assert difference(mine, theirs) == found


def test_names_that_no_module_can_have_and_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"expected names of letters, digits and _, found 'mean rgb'"):
        parse_recognizer(feature_settings("mean", groups={"mean rgb": 4}))
    with pytest.raises(ValidationError, match=r"'mean', 'h_rnn', 'netvlad', 'nextvlad'"):
        parse_recognizer(feature_settings("mean", aggregator={"kind": "attention"}))


def test_linear_and_logistic_are_one_layer() -> None:
    linear, logistic = (_build(feature_settings("mean", classifier={"kind": kind})) for kind in ("linear", "logistic"))
    assert isinstance(linear.head, nn.Linear)
    assert torch.equal(linear(_features()).logits_NK, logistic(_features()).logits_NK)
