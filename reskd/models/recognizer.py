"""What all recognisers have in common: frames in, scores and the last feature map out.

Shape letters: N clips, T frames, C = 3 colours, D feature channels, H W heights and widths, K classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from reskd.models.config import RecognizerConfig
from reskd.outputs import RecognizerOutput

MIN_SIDE = 32


class Recognizer(nn.Module, ABC):
    """Normalise, backbone, mean over space and time, dropout, linear. Channels-last, never copied to be so.

    A family says in ``features`` how its backbone goes over a clip.

    Args:
        config: ``config.weights`` is for ``build_recognizer``, this starts at random.
        num_classes: K.
        backbone: up to the last feature map.
        feature_dim: D, channels of that map.
        memory_format: of the parameters.

    Attributes:
        gives_logit_map: whether the output has a logit map: the head at every place, without dropout. Off unless a loss
            needs it; the head so stays here, and its gradient inside of DDP's forward pass.
    """

    code_dim: int | None = None
    pixel_mean_C: Tensor
    pixel_std_C: Tensor

    def __init__(
        self,
        config: RecognizerConfig,
        num_classes: int,
        *,
        backbone: nn.Module,
        feature_dim: int,
        memory_format: torch.memory_format,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes: expected 1 or more, found {num_classes}; check the list of classes.")
        self.config = config
        self.num_classes = num_classes
        self.feature_dim = feature_dim
        self.backbone = backbone
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(feature_dim, num_classes)
        nn.init.normal_(self.head.weight, std=config.head_init_std)
        nn.init.zeros_(self.head.bias)
        self.gives_logit_map = False
        self.register_buffer("pixel_mean_C", torch.tensor(config.pixel_mean), persistent=False)
        self.register_buffer("pixel_std_C", torch.tensor(config.pixel_std), persistent=False)
        self.to(memory_format=memory_format)

    @abstractmethod
    def features(self, normalised_NTHWC: Tensor) -> Tensor:
        """features_NTDHW before pooling, whose ``flatten(0, 1)`` is channels-last and no copy; its T may be smaller."""

    def num_feature_frames(self, num_frames: int) -> int:
        """T of the features of a clip of ``num_frames``."""
        return num_frames

    def forward(self, frames_NTHWC: Tensor, valid_NT: Tensor | None = None) -> RecognizerOutput:
        """Scores and features of N clips.

        Args:
            frames_NTHWC: uint8 or floating point RGB of 0..255; contiguous; height and width 32 or more.
            valid_NT: bool, False for repetitions, as in View. Not used: the mean over a short clip counts them.

        Raises:
            ValueError: the frames have another shape.
        """
        self.check_frames(frames_NTHWC)
        # The subtraction also converts uint8, without a pass of its own.
        normalised_NTHWC = torch.sub(frames_NTHWC, self.pixel_mean_C).div_(self.pixel_std_C)
        features_NTDHW = self.features(normalised_NTHWC)
        # All maps are of one size: the mean over frames of the means over space is one mean. Over one flat axis, as the
        # gradient of a mean over three is written in the order of the axes' names and not in channels-last.
        features_NTHWD = features_NTDHW.permute(0, 1, 3, 4, 2)
        logits_NK = self.head(self.dropout(features_NTHWD.flatten(1, 3).mean(1)))
        logit_map_NTKHW = self.head(features_NTHWD).permute(0, 1, 4, 2, 3) if self.gives_logit_map else None
        return RecognizerOutput(logits_NK, features_NTDHW, logit_map_NTKHW=logit_map_NTKHW)

    def check_frames(self, frames_NTHWC: Tensor) -> None:
        """Raises ValueError where this network cannot take clips of that shape."""
        shape = tuple(frames_NTHWC.shape)
        if len(shape) != 5 or shape[-1] != 3 or 0 in shape:
            raise ValueError(f"frames: expected (N, T, H, W, 3), none of them 0, found {shape}; give whole clips.")
        if min(shape[2:4]) < MIN_SIDE:
            raise ValueError(
                f"frames: expected {MIN_SIDE} x {MIN_SIDE} pixels or more, found {shape[2]} x {shape[3]}; "
                "choose a larger view."
            )
