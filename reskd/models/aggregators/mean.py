"""The mean of a video's frames. Shape letters: N videos, T frames, D channels, E code."""

from __future__ import annotations

from torch import Tensor

from reskd.models.aggregators.aggregator import Aggregator
from reskd.models.aggregators.masking import without_invalid


class Mean(Aggregator):
    """E = D; zeros where no frame is valid."""

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.code_dim = feature_dim

    def forward(self, features_NTD: Tensor, valid_NT: Tensor | None = None) -> Tensor:
        if valid_NT is None:
            return features_NTD.mean(1)
        counts_N1 = valid_NT.sum(1, keepdim=True).clamp_min(1)
        return without_invalid(features_NTD, valid_NT).sum(1) / counts_N1
