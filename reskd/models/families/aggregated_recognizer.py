"""Recognizers that make one embedding of a video's frames, from pixels through a backbone or from features.

Shape letters: N clips, T frames, B = N * T, D feature channels, H W heights and widths, K classes, E embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reskd.models.aggregators.aggregator import Aggregator
from reskd.models.aggregators.build import build_aggregator
from reskd.models.aggregators.masking import unit_length, without_invalid
from reskd.models.backbones.frame_backbone import build_frame_backbone
from reskd.models.config import AggregatedConfig, FeaturesConfig
from reskd.models.families.heads import build_head
from reskd.models.families.pixel_recognizer import PixelRecognizer
from reskd.models.recognizer import Recognizer, Shape, check_valid
from reskd.outputs import RecognizerOutput

# YouTube-8M's quantization: 0..255 stands for -2..2; a value decodes to the middle of its step.
_STEP, _LOWEST = 4 / 255, 4 / 512 - 2


def _aggregate(
    aggregator: Aggregator, features_NTD: Tensor, valid_NT: Tensor | None, *, with_blocks: bool
) -> dict[str, Tensor]:
    """The fields of RecognizerOutput that come from the aggregator."""
    if not with_blocks:
        return {"embedding_NE": aggregator(features_NTD, valid_NT)}
    states_NGE, valid_NG = aggregator.block_states(features_NTD, valid_NT)
    return {"embedding_NE": states_NGE[:, -1], "block_states_NGE": states_NGE, "block_valid_NG": valid_NG}


class AggregatedRecognizer(PixelRecognizer):
    """A 2-D backbone over every frame, the spatial mean of its maps, an aggregator, a classifier."""

    config: AggregatedConfig

    def __init__(self, config: AggregatedConfig, num_classes: int) -> None:
        backbone, feature_dim = build_frame_backbone(config.backbone)
        aggregator = build_aggregator(config.aggregator, {"backbone": feature_dim})
        super().__init__(
            config, num_classes, backbone=backbone, feature_dim=feature_dim, embedding_dim=aggregator.embedding_dim
        )
        self.aggregator = aggregator
        self.dropout = nn.Dropout(config.classifier.dropout)
        self.head = build_head(config.classifier, aggregator.embedding_dim, num_classes)
        self.to(memory_format=torch.channels_last)

    def features(self, normalized_NTHWC: Tensor) -> Tensor:
        images_BCHW = normalized_NTHWC.flatten(0, 1).permute(0, 3, 1, 2)
        features_BDHW: Tensor = self.backbone(images_BCHW)
        return features_BDHW.unflatten(0, (-1, normalized_NTHWC.shape[1]))

    def answer(self, features_NTDHW: Tensor, valid_NT: Tensor | None) -> RecognizerOutput:
        # The mean runs over one flat axis, which keeps the gradient channels-last.
        means_NTD = features_NTDHW.permute(0, 1, 3, 4, 2).flatten(2, 3).mean(2)
        if self.config.normalize_frames:
            means_NTD = unit_length(means_NTD)
        aggregate = _aggregate(self.aggregator, means_NTD, valid_NT, with_blocks=self.gives_block_states)
        logits_NK = self.head(self.dropout(aggregate["embedding_NE"]))
        return RecognizerOutput(logits_NK, features_NTDHW, **aggregate)

    def num_blocks(self, num_frames: int) -> int:
        return self.aggregator.num_blocks(num_frames)


class FeatureRecognizer(Recognizer):
    """Dequantizes a video's features, scales each frame's to unit length, aggregates and classifies."""

    config: FeaturesConfig

    def __init__(self, config: FeaturesConfig, num_classes: int) -> None:
        aggregator = build_aggregator(config.aggregator, config.groups)
        super().__init__(config, num_classes, feature_dim=None, embedding_dim=aggregator.embedding_dim)
        self.aggregator = aggregator
        self.dropout = nn.Dropout(config.classifier.dropout)
        self.head = build_head(config.classifier, aggregator.embedding_dim, num_classes)

    def forward(self, data: Tensor, valid_NT: Tensor | None = None) -> RecognizerOutput:
        """As Recognizer, for features_NTD as in FeatureView."""
        shape = tuple(data.shape)
        if len(shape) != 3 or 0 in shape:
            raise ValueError(f"features: expected (N, T, D), none of them 0, found {shape}; give whole videos.")
        self.check_shape(shape[1:])
        check_valid(valid_NT, data)
        # The product also converts uint8. Missing frames become zeros after dequantization, which maps 0 to -2.
        features_NTD = without_invalid(torch.mul(data, _STEP).add_(_LOWEST), valid_NT)
        if self.config.normalize_frames:
            features_NTD = unit_length(features_NTD)
        aggregate = _aggregate(self.aggregator, features_NTD, valid_NT, with_blocks=self.gives_block_states)
        return RecognizerOutput(self.head(self.dropout(aggregate["embedding_NE"])), None, **aggregate)

    def num_blocks(self, num_frames: int) -> int:
        return self.aggregator.num_blocks(num_frames)

    def check_shape(self, shape: Shape) -> None:
        expected = sum(self.config.groups.values())
        if len(shape) != 2:
            raise ValueError(
                f"expected a view of features, (T, D), found {shape} of pixels; use a family with a backbone, or "
                "features."
            )
        if shape[1] != expected:
            groups = ", ".join(f"{name} {size}" for name, size in self.config.groups.items())
            raise ValueError(
                f"features: expected {expected} per frame ({groups}), found {shape[1]}; make the network's groups "
                "those of the data."
            )
