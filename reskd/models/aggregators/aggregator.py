"""The interface of all aggregators: from the vectors of a video's frames to one embedding."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from reskd.models.aggregators.masking import without_invalid


class Aggregator(nn.Module, ABC):
    """Makes one vector of any number of valid frames, 0 included.

    The contents of invalid frames do not change a bit of it; more invalid frames at the end change only rounding.

    Attributes:
        embedding_dim: E.
        frame_layers: names of the layers that see each frame on its own; the others see several.
    """

    embedding_dim: int
    frame_layers: tuple[str, ...] = ()

    @abstractmethod
    def forward(self, features_NTD: Tensor, valid_NT: Tensor | None = None) -> Tensor:
        """embedding_NE, floating point.

        Args:
            features_NTD: floating point; feature groups are concatenated along D. T is 1 or more.
            valid_NT: bool, False where there is no frame; None means that all are valid.
        """

    def num_blocks(self, num_frames: int) -> int:
        """G, the blocks of ``num_frames`` frames whose states ``block_states`` gives; 0 for an aggregator without."""
        return 0

    def block_states(self, features_NTD: Tensor, valid_NT: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(states_NGE, valid_NG) as in RecognizerOutput; the last state is the embedding, up to rounding.

        Raises:
            ValueError: an aggregator without blocks.
        """
        raise ValueError(f"states of blocks: expected HRnn, found {type(self).__name__}; use aggregator.kind = h_rnn.")


class Mean(Aggregator):
    """E = D; zeros where no frame is valid."""

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.embedding_dim = feature_dim

    def forward(self, features_NTD: Tensor, valid_NT: Tensor | None = None) -> Tensor:
        if valid_NT is None:
            return features_NTD.mean(1)
        counts_N1 = valid_NT.sum(1, keepdim=True).clamp_min(1)
        return without_invalid(features_NTD, valid_NT).sum(1) / counts_N1
