"""From a config to a recognizer with its weights."""

from __future__ import annotations

from reskd.models.config import AggregatedConfig, FeaturesConfig, RecognizerConfig, TsmConfig, TsnConfig
from reskd.models.families.aggregated_recognizer import AggregatedRecognizer, FeatureRecognizer
from reskd.models.families.pixel_recognizer import ClipRecognizer, FrameRecognizer
from reskd.models.recognizer import Recognizer
from reskd.models.weights.load import load_weights


def build_recognizer(config: RecognizerConfig, num_classes: int) -> Recognizer:
    """A recognizer in channels-last memory format, in training mode, holding ``config.weights``.

    Under ``torch.device("meta")`` nothing is read or downloaded: a meta tensor holds no weights.

    Raises:
        OSError, ValueError: the weights cannot be found, read or downloaded; they are of another architecture; sizes
            that do not fit each other.
    """
    model = _build(config, num_classes)
    if not next(model.parameters()).is_meta:
        load_weights(model, config.weights)
    return model


def _build(config: RecognizerConfig, num_classes: int) -> Recognizer:
    if isinstance(config, (TsnConfig, TsmConfig)):
        return FrameRecognizer(config, num_classes)
    if isinstance(config, AggregatedConfig):
        return AggregatedRecognizer(config, num_classes)
    if isinstance(config, FeaturesConfig):
        return FeatureRecognizer(config, num_classes)
    return ClipRecognizer(config, num_classes)
