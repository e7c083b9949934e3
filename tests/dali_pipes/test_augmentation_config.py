from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from dali_pipes.augmentation_config import RAND_AUGMENT_OPS, AugmentationConfig
from dali_pipes.config import DataConfig
from dali_pipes.features.config import FeatureDataConfig
from reskd.experiment.config_errors import explain

DATA = {"root": Path("data"), "train": "folders", "views": {"student": {"size": 32, "source": "decoded"}}}


def faults_of(model: Any, settings: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(model).validate_python(settings)
    return [fault.sentence for fault in explain(caught.value, model, group="data")]


def test_all_is_off_unless_asked_for() -> None:
    assert not DataConfig.model_validate(DATA).augmentation.is_on
    assert AugmentationConfig.model_validate({"random_erasing": {}}).is_on


def test_the_defaults_are_those_of_the_papers() -> None:
    config = AugmentationConfig.model_validate({"rand_augment": {}, "random_erasing": {}})
    assert config.rand_augment is not None and config.random_erasing is not None
    assert (config.rand_augment.num_ops, config.rand_augment.magnitude, config.rand_augment.fill) == (2, 9, 128)
    assert config.rand_augment.ops == RAND_AUGMENT_OPS and len(RAND_AUGMENT_OPS) == 14
    assert config.random_erasing.area == (0.02, 0.4) and config.random_erasing.fill == "noise"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"color_jitter": {}},
            "augmentation.color_jitter: expected brightness, contrast, saturation or hue above 0, found none.",
        ),
        ({"color_jitter": {"hue": 0.6}}, "augmentation.color_jitter.hue: should be less than or equal to 0.5, found"),
        ({"color_jitter": {"colour": 1}}, "unknown key augmentation.color_jitter.colour; "),
        (
            {"rand_augment": {"magnitude": 11}},
            "augmentation.rand_augment.magnitude: should be less than or equal to 10",
        ),
        ({"rand_augment": {"num_ops": 0}}, "augmentation.rand_augment.num_ops: should be greater than or equal to 1"),
        ({"rand_augment": {"ops": ["invert"]}}, "translate_y, each once, found ['invert']."),
        (
            {"rand_augment": {"ops": ["rotate", "rotate"]}},
            "augmentation.rand_augment.ops: expected some of identity, auto_contrast, equalize, rotate, ",
        ),
        ({"rand_augment": {"ops": []}}, "each once, found []."),
        ({"rand_augment": {"ops": "rotate"}}, "each once, found rotate."),
        ({"random_erasing": {"area": [0.5, 0.2]}}, "augmentation.random_erasing: area: expected 0 < low <= high <= 1"),
        ({"random_erasing": {"aspect_ratio": [0, 1]}}, "augmentation.random_erasing: aspect_ratio: expected 0 < low"),
        (
            {"random_erasing": {"fill": "mean"}},
            "random_erasing.fill: expected noise, random_color or a gray level from 0 to 255, found 'mean'",
        ),
        ({"random_erasing": {"fill": 256}}, "random_color or a gray level from 0 to 255, found '256'"),
        ({"rand_augment": 2}, "augmentation.rand_augment: expected a group of settings, found 2."),
    ],
)
def test_a_fault_is_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    (found,) = faults_of(DataConfig, {**DATA, "augmentation": settings})
    assert sentence in found


def test_features_have_no_pixels_to_augment() -> None:
    settings = {"kind": "features", "root": "data", "train": "a*", "num_classes": 2, "augmentation": {}}
    (found,) = faults_of(FeatureDataConfig, settings)
    assert found == "augmentation changes pixels, and features have none; leave it out."
