"""Builds a recognizer from its config and loads its weights."""

from __future__ import annotations

import torch

from reskd.models.config import AggregatedConfig, FeaturesConfig, RecognizerConfig, TsmConfig, TsnConfig
from reskd.models.families.aggregated_recognizer import AggregatedRecognizer, FeatureRecognizer
from reskd.models.families.pixel_recognizer import ClipRecognizer, FrameRecognizer
from reskd.models.families.python_recognizer import PythonRecognizer
from reskd.models.python_config import PythonConfig
from reskd.models.recognizer import Recognizer
from reskd.models.weights.load import load_weights


def build_recognizer(config: RecognizerConfig, num_classes: int) -> Recognizer:
    """A recognizer with ``config.weights``, in channels-last memory format and training mode.

    Under ``torch.device("meta")`` nothing is read or downloaded: a meta tensor holds no weights.

    Raises:
        OSError, ValueError: the weights cannot be found, read or downloaded, or are of another architecture; the sizes
            do not fit together.
    """
    model = _build(config, num_classes)
    if torch.empty(0).device.type != "meta":
        load_weights(model, config.weights)
    return model


def _build(config: RecognizerConfig, num_classes: int) -> Recognizer:
    if isinstance(config, (TsnConfig, TsmConfig)):
        return FrameRecognizer(config, num_classes)
    if isinstance(config, AggregatedConfig):
        return AggregatedRecognizer(config, num_classes)
    if isinstance(config, FeaturesConfig):
        return FeatureRecognizer(config, num_classes)
    if isinstance(config, PythonConfig):
        return PythonRecognizer(config, num_classes)
    return ClipRecognizer(config, num_classes)
