"""What all aggregators have in common: the vectors of a video's frames in, one code out."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from reskd.models.aggregators.masking import without_invalid


class Aggregator(nn.Module, ABC):
    """Makes one vector of any number of valid frames, 0 included.

    What lies in invalid frames changes nothing, to the bit; more invalid frames at the end nothing beyond rounding.

    Attributes:
        code_dim: E.
        frame_layers: names of the layers inside that see each frame by itself; the rest looks at several.
    """

    embedding_dim: int
    frame_layers: tuple[str, ...] = ()

    @abstractmethod
    def forward(self, features_NTD: Tensor, valid_NT: Tensor | None = None) -> Tensor:
        """code_NE, floating point.

        Args:
            features_NTD: floating point; groups of features lie one after another in D. T is 1 or more.
            valid_NT: bool, False where there is no frame; None means that all are there.
        """


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
