"""The interface of all recognizers: from clips to class scores, and the features that distillation needs.

Shape letters: N clips, T frames, C = 3 colors, D feature channels, H W heights and widths, K classes, E embedding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from reskd.models.config import RecognizerConfig
from reskd.outputs import RecognizerOutput

Shape = tuple[int, ...]  # of a view: (T, H, W) for pixels, or (T, D) for features


class Recognizer(nn.Module, ABC):
    """The interface of a network to the trainer, the losses and the tools.

    Args:
        config: a recognizer starts at random; ``build_recognizer`` loads ``config.weights``.
        num_classes: K.
        feature_dim: D, channels of the last feature map; None where there is no map.
        embedding_dim: E; None where there is no embedding.

    Attributes:
        head: the last layer, to logits_NK.
        gives_block_states: whether the output has the states of blocks. Off unless a loss needs it. With it H-RNN's
            upper LSTM runs step by step, and the embedding differs by rounding.
    """

    head: nn.Module

    def __init__(
        self, config: RecognizerConfig, num_classes: int, *, feature_dim: int | None, embedding_dim: int | None
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes: expected 1 or more, found {num_classes}; check the list of classes.")
        self.config = config
        self.num_classes = num_classes
        self.feature_dim = feature_dim
        self.embedding_dim = embedding_dim
        self._gives_logit_map = self._gives_frame_logits = False
        self.gives_block_states = False

    @property
    def head_prefix(self) -> str:
        """How the names of the head's parameters and buffers begin in the state dict."""
        return "head."

    @property
    def gives_logit_map(self) -> bool:
        """Whether the output has a logit map: the head at every location, without dropout. Off unless a loss needs it.

        The head thus stays inside DDP's forward pass.

        Raises:
            ValueError: set to True where the head can score only a whole clip.
        """
        return self._gives_logit_map

    @gives_logit_map.setter
    def gives_logit_map(self, value: bool) -> None:
        if value:
            self._check_head_scores_parts("logit_map", "at every location")
        self._gives_logit_map = value

    @property
    def gives_frame_logits(self) -> bool:
        """Whether the output has the head's scores of each feature frame, without dropout; as ``gives_logit_map``."""
        return self._gives_frame_logits

    @gives_frame_logits.setter
    def gives_frame_logits(self, value: bool) -> None:
        if value:
            self._check_head_scores_parts("frame", "of every frame")
        self._gives_frame_logits = value

    def _check_head_scores_parts(self, term: str, which: str) -> None:
        if self.embedding_dim is not None:
            raise ValueError(
                f"loss.{term} needs the head's scores {which}: expected a network whose head takes the mean of its "
                f"feature map, found family {self.config.family}, whose head takes a clip's embedding; leave out "
                f"loss.{term}, or use family tsn."
            )

    def num_feature_frames(self, num_frames: int) -> int:
        """T of the features of a clip of ``num_frames``."""
        return num_frames

    def num_blocks(self, num_frames: int) -> int:
        """G of the states of a clip of ``num_frames``; 0 for a network without blocks."""
        return 0

    def layers_below_head(self) -> dict[str, int]:
        """Name of each parameter -> how many layers of a backbone lie from it to the head; 0 for what is beside it.

        Raises:
            ValueError: the layers of this network are not known.
        """
        raise ValueError(
            "optimizer.layer_decay: expected a family with a backbone whose layers are known, found family "
            f"{self.config.family}; remove it."
        )

    @abstractmethod
    def check_shape(self, shape: Shape) -> None:
        """Raises ValueError where this network cannot take a view of (T, H, W), or (T, D) of features."""

    @abstractmethod
    def forward(self, data: Tensor, valid_NT: Tensor | None = None) -> RecognizerOutput:
        """The network's outputs for N clips.

        Args:
            data: frames_NTHWC or features_NTD: uint8, or floating point in 0..255; contiguous.
            valid_NT: bool, False for repeated or missing frames, as in View and FeatureView; None: all are
                valid.

        Raises:
            ValueError: the data has another shape.
        """


def data_shape(shape: Shape, num_clips: int) -> Shape:
    """The shape of ``num_clips`` clips with views of ``shape``: (N, T, H, W, 3), or (N, T, D)."""
    return (num_clips, *shape, 3) if len(shape) == 3 else (num_clips, *shape)


def check_valid(valid_NT: Tensor | None, data: Tensor) -> None:
    """Raises ValueError where ``valid_NT`` is not one bool per frame of ``data``."""
    if valid_NT is None:
        return
    expected, found = tuple(data.shape[:2]), tuple(valid_NT.shape)
    if found != expected or valid_NT.dtype != torch.bool:
        raise ValueError(
            f"valid_NT: expected bool of shape {expected}, one per frame, found {valid_NT.dtype} of shape {found}; "
            "give the view's valid_NT."
        )
