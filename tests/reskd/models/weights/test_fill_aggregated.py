"""Weights of recognizers with an aggregator: strict from their own files, a start from a backbone's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from reskd.commands.import_weights import choose
from reskd.models.config import parse_recognizer
from reskd.models.families.registry import build_recognizer
from reskd.models.recognizer import Recognizer
from reskd.models.weights.files import read_weight_file
from reskd.models.weights.fill import fit
from tests.reskd.models.families.aggregated import SETTINGS
from tests.reskd.models.families.test_aggregated_recognizer import HEADS, feature_settings

AGGREGATED = {
    "family": "aggregated",
    "backbone": "resnet18",
    "aggregator": SETTINGS["netvlad"],
    "classifier": HEADS["linear"],
}


def _build(settings: dict[str, Any], num_classes: int = 5, *, seed: int = 0) -> Recognizer:
    torch.manual_seed(seed)
    return build_recognizer(parse_recognizer(settings), num_classes)


def _save(path: Path, model: Recognizer) -> str:
    config = {"student": model.config.model_dump(mode="json")}
    torch.save({"student": model.state_dict(), "config": config, "class_names": list("abcde")}, path)
    return str(path)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("aggregator", SETTINGS)
def test_a_checkpoint_of_the_same_network_fills_all_of_it(aggregator: str, head: str, tmp_path: Path) -> None:
    settings = feature_settings(aggregator, head)
    trained = _build(settings, seed=1)
    path = _save(tmp_path / "last.pt", trained)
    loaded = _build(settings | {"weights": path})
    assert all(torch.equal(value, trained.state_dict()[name]) for name, value in loaded.state_dict().items())
    with pytest.raises(ValueError, match=r"with 4 classes, found .*5 classes.*weights trained on the same classes"):
        _build(settings | {"weights": path}, num_classes=4)
    other = _build(settings | {"weights": path, "weights_head": "new"}, num_classes=4)
    assert all(
        torch.equal(value, trained.state_dict()[name])
        for name, value in other.state_dict().items()
        if not name.startswith("head.")
    )


def test_another_block_length_is_refused_and_a_start_where_it_is_asked_for(tmp_path: Path) -> None:
    path = _save(tmp_path / "last.pt", _build(feature_settings("h_rnn")))
    student = feature_settings("h_rnn", aggregator=SETTINGS["h_rnn"] | {"block_length": 2}, weights=path)
    with pytest.raises(ValueError, match=r"trained with aggregator.block_length 2, found 3; set aggregator.block_len"):
        _build(student)
    report = fit(_build(student | {"weights": "none", "weights_head": "new"}), read_weight_file(Path(path)))
    assert "trained with 3, used with aggregator.block_length 2" in str(report)


def test_another_aggregator_is_named(tmp_path: Path) -> None:
    path = _save(tmp_path / "last.pt", _build(feature_settings("netvlad")))
    bare = torch.load(path)["student"]
    torch.save(bare, tmp_path / "bare.pt")
    with pytest.raises(ValueError, match=r"expected weights of h_rnn on rgb and audio with 5 .*found netvlad on feat"):
        _build(feature_settings("h_rnn", weights=str(tmp_path / "bare.pt")))


def test_a_backbone_of_any_file_starts_an_aggregated_network(tmp_path: Path) -> None:
    frames = _build({"backbone": "resnet18"}, seed=1)
    path = _save(tmp_path / "tsn.pt", frames)
    model = _build(AGGREGATED)
    started = build_recognizer(parse_recognizer(AGGREGATED | {"weights": path, "weights_head": "new"}), 9)
    assert torch.equal(started.backbone.conv1.weight, frames.backbone.conv1.weight)
    state = {name.removeprefix("backbone."): value for name, value in frames.state_dict().items()}
    torch.save({name.replace("head.", "fc."): value for name, value in state.items()}, tmp_path / "torchvision.pth")
    report = fit(model, read_weight_file(tmp_path / "torchvision.pth"))
    assert torch.equal(model.backbone.layer4[1].conv2.weight, frames.backbone.layer4[1].conv2.weight)
    assert "new (the aggregator, to be trained)" in str(report) and "new (the head, to be trained)" in str(report)
    before = model.backbone.conv1.weight.clone()
    with pytest.raises(ValueError, match=r"expected weights trained with .*; set"):
        fit(model, read_weight_file(Path(path)))
    assert torch.equal(model.backbone.conv1.weight, before)


def test_a_name_of_torchvisions_is_nothing_to_a_network_of_features() -> None:
    with pytest.raises(FileNotFoundError, match=r"expected 'none', or the path of a file, found 'IMAGENET1K_V1'"):
        _build(feature_settings("mean", weights="IMAGENET1K_V1"))


def test_import_weights_takes_settings_and_classes_from_a_checkpoint_of_features(tmp_path: Path) -> None:
    path = _save(tmp_path / "last.pt", _build(feature_settings("netvlad", "mixture_of_experts")))
    config, num_classes = choose(read_weight_file(Path(path)), [], None)
    assert (config, num_classes) == (parse_recognizer(feature_settings("netvlad", "mixture_of_experts")), 5)
