"""Recognizers that see pixels: a backbone makes feature maps of normalized frames, a head makes scores of the maps.

FrameRecognizer has a 2-D backbone: frame by frame (TSN, arXiv:1608.00859), or with channels shifted in time (TSM).
ClipRecognizer has a backbone over space and time: SlowOnly and Video Swin.

Shape letters: N clips, T frames, B = N * T, C = 3 colors, D feature channels, H W heights and widths, K classes.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from reskd.models.backbones.blocks import layers_below_head
from reskd.models.backbones.frame_backbone import build_frame_backbone
from reskd.models.backbones.kept_parts import keep_parts
from reskd.models.backbones.recomputation import recompute_blocks
from reskd.models.backbones.slow_only import build_slow_only
from reskd.models.backbones.swin import PATCH_FRAMES, build_swin
from reskd.models.backbones.temporal_shift import ClipLength, shift_residual_blocks
from reskd.models.backbones.timm_2d import TimmBackbone
from reskd.models.config import (
    AggregatedConfig,
    PixelRecognizerConfig,
    PooledRecognizerConfig,
    SlowOnlyConfig,
    SwinConfig,
    TsmConfig,
    TsnConfig,
)
from reskd.models.families.heads import linear_head
from reskd.models.recognizer import Recognizer, Shape, check_valid
from reskd.outputs import RecognizerOutput

MIN_SIDE = 32


def normalized(data: Tensor, mean_C: Tensor, std_C: Tensor) -> Tensor:
    """(data - mean) / std, in the layout of uint8 or float ``data`` (..., C); fp32.

    On a GPU under autocast it is in autocast's dtype, in which the first layer would take it anyway: one kernel reads a
    byte a value and writes two, where subtraction, division and conversion write ten.
    """
    if data.is_cuda and torch.is_autocast_enabled("cuda"):
        return scaled(data, mean_C, std_C, torch.get_autocast_dtype("cuda"))
    # The subtraction also converts uint8, without a separate pass.
    return torch.sub(data, mean_C).div_(std_C)


def scaled(data: Tensor, mean_C: Tensor, std_C: Tensor, dtype: torch.dtype) -> Tensor:
    """As ``normalized``, computed in fp32 and rounded once, to ``dtype``."""
    out = torch.empty_like(data, dtype=dtype)
    return torch.addcmul(-mean_C / std_C, data, 1 / std_C, out=out)


class PixelNetwork(Recognizer):
    """Checks and normalizes the frames for a network that sees pixels, and keeps the parts that its config keeps.

    Args:
        backbone: the network, or the part of it before the head.
        feature_dim, embedding_dim: as in Recognizer.
    """

    pixel_mean_C: Tensor
    pixel_std_C: Tensor

    def __init__(
        self,
        config: PixelRecognizerConfig,
        num_classes: int,
        *,
        backbone: nn.Module,
        feature_dim: int | None,
        embedding_dim: int | None,
    ) -> None:
        super().__init__(config, num_classes, feature_dim=feature_dim, embedding_dim=embedding_dim)
        self.backbone = backbone
        self._kept = keep_parts(backbone, config)
        self.register_buffer("pixel_mean_C", torch.tensor(config.pixel_mean), persistent=False)
        self.register_buffer("pixel_std_C", torch.tensor(config.pixel_std), persistent=False)

    def train(self, mode: bool = True) -> PixelNetwork:
        """As nn.Module, but parts that the training keeps as they are stay in eval mode."""
        super().train(mode)
        for module in self._kept:
            module.eval()
        return self

    def pictures(self, data: Tensor, valid_NT: Tensor | None) -> Tensor:
        """normalized_NTHWC of what ``forward`` is given.

        Raises:
            ValueError: the data has another shape, or ``valid_NT`` does not belong to it.
        """
        shape = tuple(data.shape)
        if len(shape) != 5 or shape[-1] != 3 or 0 in shape:
            raise ValueError(f"frames: expected (N, T, H, W, 3), none of them 0, found {shape}; give whole clips.")
        check_valid(valid_NT, data)
        return normalized(data, self.pixel_mean_C, self.pixel_std_C)

    def check_shape(self, shape: Shape) -> None:
        if len(shape) != 3:
            raise ValueError(
                f"expected a view of pixels, (T, H, W), found {shape} of features; use family features, or videos."
            )


class PixelRecognizer(PixelNetwork):
    """Runs the backbone, channels-last without a copy.

    A family implements ``features``, its backbone over a clip, and ``answer``, from maps to outputs.

    Args:
        backbone: up to the last feature map.
        feature_dim: D, channels of that map.
        embedding_dim: E; None where the head takes the mean of the map.
    """

    config: PooledRecognizerConfig | AggregatedConfig
    feature_dim: int

    def __init__(
        self,
        config: PooledRecognizerConfig | AggregatedConfig,
        num_classes: int,
        *,
        backbone: nn.Module,
        feature_dim: int,
        embedding_dim: int | None,
    ) -> None:
        super().__init__(config, num_classes, backbone=backbone, feature_dim=feature_dim, embedding_dim=embedding_dim)
        if config.activation_checkpointing:
            recompute_blocks(backbone, config.backbone)

    def layers_below_head(self) -> dict[str, int]:
        layers = layers_below_head(self.backbone, self.config.backbone)
        beside = {name: 0 for name, _ in self.named_parameters()}
        return beside | {f"backbone.{name}": below for name, below in layers.items()}

    @abstractmethod
    def features(self, normalized_NTHWC: Tensor) -> Tensor:
        """features_NTDHW before pooling; ``flatten(0, 1)`` is channels-last and no copy. T may be smaller."""

    @abstractmethod
    def answer(self, features_NTDHW: Tensor, valid_NT: Tensor | None) -> RecognizerOutput:
        """Scores from the maps."""

    def forward(self, data: Tensor, valid_NT: Tensor | None = None) -> RecognizerOutput:
        """As Recognizer, for frames_NTHWC."""
        normalized_NTHWC = self.pictures(data, valid_NT)
        self.check_shape(tuple(data.shape[1:4]))
        return self.answer(self.features(normalized_NTHWC), valid_NT)

    def check_shape(self, shape: Shape) -> None:
        super().check_shape(shape)
        if min(shape[1:]) < MIN_SIDE:
            raise ValueError(
                f"frames: expected {MIN_SIDE} x {MIN_SIDE} pixels or more, found {shape[1]} x {shape[2]}; "
                "choose a larger view."
            )
        if isinstance(self.backbone, TimmBackbone):
            self.backbone.check_size(*shape[1:])


class PooledRecognizer(PixelRecognizer):
    """Mean over space and time, dropout, linear.

    Args:
        memory_format: of the parameters.
    """

    config: PooledRecognizerConfig
    head: nn.Linear

    def __init__(
        self,
        config: PooledRecognizerConfig,
        num_classes: int,
        *,
        backbone: nn.Module,
        feature_dim: int,
        memory_format: torch.memory_format,
    ) -> None:
        super().__init__(config, num_classes, backbone=backbone, feature_dim=feature_dim, embedding_dim=None)
        self.dropout = nn.Dropout(config.dropout)
        self.head = linear_head(feature_dim, num_classes, init_std=config.head_init_std)
        self.to(memory_format=memory_format)

    def answer(self, features_NTDHW: Tensor, valid_NT: Tensor | None) -> RecognizerOutput:
        """As PixelRecognizer; ``valid_NT`` is not used: the mean over a short clip counts repeated frames."""
        # All maps have one size, so the mean over frames of the spatial means is one mean. It runs over one flat axis,
        # because the gradient of a mean over three axes would not be channels-last.
        features_NTHWD = features_NTDHW.permute(0, 1, 3, 4, 2)
        logits_NK = self.head(self.dropout(features_NTHWD.flatten(1, 3).mean(1)))
        logit_map_NTKHW = self.head(features_NTHWD).permute(0, 1, 4, 2, 3) if self.gives_logit_map else None
        frame_logits_NTK = self.head(features_NTHWD.flatten(2, 3).mean(2)) if self.gives_frame_logits else None
        return RecognizerOutput(
            logits_NK, features_NTDHW, logit_map_NTKHW=logit_map_NTKHW, frame_logits_NTK=frame_logits_NTK
        )


class FrameRecognizer(PooledRecognizer):
    """Every frame through a 2-D backbone, on its own (TSN) or with some channels of its neighbors (TSM)."""

    def __init__(self, config: TsnConfig | TsmConfig, num_classes: int) -> None:
        stage_strides = config.stage_strides if isinstance(config, TsnConfig) else None
        backbone, feature_dim = build_frame_backbone(config.backbone, stage_strides=stage_strides)
        super().__init__(
            config, num_classes, backbone=backbone, feature_dim=feature_dim, memory_format=torch.channels_last
        )
        self.clip: ClipLength | None = None
        if isinstance(config, TsmConfig):
            self.clip = shift_residual_blocks(backbone, shift_divisor=config.shift_divisor)

    def features(self, normalized_NTHWC: Tensor) -> Tensor:
        num_frames = normalized_NTHWC.shape[1]
        if self.clip is not None:
            self.clip.num_frames = num_frames
        images_BCHW = normalized_NTHWC.flatten(0, 1).permute(0, 3, 1, 2)
        features_BDHW: Tensor = self.backbone(images_BCHW)
        return features_BDHW.unflatten(0, (-1, num_frames))


class ClipRecognizer(PooledRecognizer):
    """A whole clip at once through a backbone with a time axis."""

    def __init__(self, config: SlowOnlyConfig | SwinConfig, num_classes: int) -> None:
        if isinstance(config, SwinConfig):
            backbone, feature_dim = build_swin(config)
        else:
            backbone, feature_dim = build_slow_only(config.backbone)
        super().__init__(
            config, num_classes, backbone=backbone, feature_dim=feature_dim, memory_format=torch.channels_last_3d
        )
        self.frames_per_feature = PATCH_FRAMES if isinstance(config, SwinConfig) else 1

    def features(self, normalized_NTHWC: Tensor) -> Tensor:
        features_NDTHW: Tensor = self.backbone(normalized_NTHWC.permute(0, 4, 1, 2, 3))
        return features_NDTHW.transpose(1, 2)

    def num_feature_frames(self, num_frames: int) -> int:
        return num_frames // self.frames_per_feature

    def check_shape(self, shape: Shape) -> None:
        super().check_shape(shape)
        num_frames = shape[0]
        if num_frames % self.frames_per_feature:
            # torchvision would append a blank frame; no published network was trained with one.
            raise ValueError(
                f"frames: expected a multiple of {self.frames_per_feature} frames per clip, the length of a "
                f"patch, found {num_frames}; give this network {num_frames + 1}."
            )
