"""A recogniser that looks at every frame by itself and averages (TSN, arXiv:1608.00859).

Shape letters: N clips, T frames, B = N * T, C = 3 colours, D feature channels, H W heights and widths, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reskd.models.backbones import build_backbone
from reskd.models.config import RecognizerConfig
from reskd.outputs import RecognizerOutput

MIN_SIDE = 32


class FrameRecognizer(nn.Module):
    """Normalise, 2-D backbone, mean over space and frames, dropout, linear. Channels-last, never copied to be so.

    Args:
        config: the backbone and its head; ``config.weights`` is for ``build_recognizer``, this starts at random.
        num_classes: K.
    """

    pixel_mean_C11: Tensor
    pixel_std_C11: Tensor

    def __init__(self, config: RecognizerConfig, num_classes: int) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes: expected 1 or more, found {num_classes}; check the list of classes.")
        self.config = config
        self.num_classes = num_classes
        self.backbone, self.feature_dim = build_backbone(config.backbone, stage_strides=config.stage_strides)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(self.feature_dim, num_classes)
        nn.init.normal_(self.head.weight, std=config.head_init_std)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("pixel_mean_C11", torch.tensor(config.pixel_mean).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std_C11", torch.tensor(config.pixel_std).view(3, 1, 1), persistent=False)
        self.to(memory_format=torch.channels_last)

    def forward(self, frames_NTHWC: Tensor) -> RecognizerOutput:
        """Scores and features of N clips.

        Args:
            frames_NTHWC: uint8 or floating point RGB of 0..255; contiguous; height and width 32 or more.

        Returns:
            logits_NK, and features_NTDHW before pooling, whose ``flatten(0, 1)`` is channels-last and no copy.

        Raises:
            ValueError: the frames have another shape.
        """
        self._check_frames(frames_NTHWC)
        images_BCHW = frames_NTHWC.flatten(0, 1).permute(0, 3, 1, 2)
        # The subtraction also converts uint8, without a pass of its own.
        normalised_BCHW = torch.sub(images_BCHW, self.pixel_mean_C11).div_(self.pixel_std_C11)
        features_BDHW = self.backbone(normalised_BCHW)
        features_NTDHW = features_BDHW.unflatten(0, frames_NTHWC.shape[:2])
        # All maps are of one size: the mean over frames of the means over space is one mean.
        pooled_ND = features_NTDHW.mean((1, 3, 4))
        return RecognizerOutput(self.head(self.dropout(pooled_ND)), features_NTDHW)

    def _check_frames(self, frames_NTHWC: Tensor) -> None:
        shape = tuple(frames_NTHWC.shape)
        if len(shape) != 5 or shape[-1] != 3 or 0 in shape:
            raise ValueError(f"frames: expected (N, T, H, W, 3), none of them 0, found {shape}; give whole clips.")
        if min(shape[2:4]) < MIN_SIDE:
            raise ValueError(
                f"frames: expected {MIN_SIDE} x {MIN_SIDE} pixels or more, found {shape[2]} x {shape[3]}; "
                "choose a larger view."
            )
