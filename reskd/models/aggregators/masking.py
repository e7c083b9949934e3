"""Keeps missing frames out of sums, norms and batch norm.

Shape letters: N videos, T frames, D channels.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

# Floor of a squared length, as in TensorFlow's l2_normalize: a zero vector stays zero, with a finite gradient.
_SMALLEST_SQUARE = 1e-12


def without_invalid(features_NTD: Tensor, valid_NT: Tensor | None) -> Tensor:
    """``features_NTD`` with zeros where ``valid_NT`` (bool; None: all valid) is False, even in place of NaN."""
    return features_NTD if valid_NT is None else features_NTD.masked_fill(~valid_NT[..., None], 0)


def at_least_fp32(tensor: Tensor) -> Tensor:
    """The tensor in fp32, or unchanged if fp64."""
    # Not torch.promote_types: torch 2.6 exports it as an operator that it cannot read back.
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def without_autocast(tensor: Tensor) -> AbstractContextManager[Any]:
    """Computes on this tensor's device in the inputs' own dtype."""
    # Only where it is on: the meta device has no autocast, and exports should not contain it.
    kind = tensor.device.type
    if kind != "meta" and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


def unit_length(vectors: Tensor) -> Tensor:
    """Each vector of the last axis divided by its length, in fp32 (fp64 for fp64); zeros stay zeros."""
    vectors = at_least_fp32(vectors)
    return vectors * vectors.square().sum(-1, keepdim=True).clamp_min(_SMALLEST_SQUARE).rsqrt()


class FrameBatchNorm(nn.BatchNorm1d):
    """Batch norm whose batch and running statistics use only the valid frames."""

    def forward(self, features_NTD: Tensor, valid_NT: Tensor | None = None) -> Tensor:
        """features_NTD normalized; values at invalid frames are meaningless.

        Args:
            valid_NT: bool; None means all are valid.
        """
        if valid_NT is None or not (self.training or self.running_mean is None):
            return super().forward(features_NTD.flatten(0, 1)).view_as(features_NTD)
        wide_NTD = at_least_fp32(features_NTD)
        count, mean_D, variance_D = _statistics(wide_NTD, valid_NT)
        if self.track_running_stats:
            self._run(count, mean_D.detach(), variance_D.detach())
        # By hand: torch's batch norm has no gradient through given statistics.
        normalized_NTD = (wide_NTD - mean_D) * (variance_D + self.eps).rsqrt()
        return torch.addcmul(self.bias, normalized_NTD, self.weight)

    @torch.no_grad()
    def _run(self, count: Tensor, mean_D: Tensor, variance_D: Tensor) -> None:
        """Update running statistics as nn.BatchNorm1d does (unbiased variance), unless no frame is valid."""
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        momentum = self.momentum * (count > 0)
        unbiased_D = variance_D * count / (count - 1).clamp_min(1)
        self.running_mean.lerp_(mean_D.to(self.running_mean.dtype), momentum.to(self.running_mean.dtype))
        self.running_var.lerp_(unbiased_D.to(self.running_var.dtype), momentum.to(self.running_var.dtype))
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


class EmbeddingBatchNorm(nn.BatchNorm1d):
    """Batch norm of one vector per video; training needs at least two videos."""

    def forward(self, embeddings_NE: Tensor) -> Tensor:
        """As nn.BatchNorm1d.

        Raises:
            ValueError: a single video, in training.
        """
        if (self.training or self.running_mean is None) and len(embeddings_NE) == 1:
            raise ValueError(
                "batch norm of a video's embedding: expected 2 videos or more in a training pass, found 1; raise "
                "training.max_clips_per_pass or training.global_batch_size."
            )
        return super().forward(embeddings_NE)


def _statistics(features_NTD: Tensor, valid_NT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(number of valid frames, mean_D, biased variance_D) of the valid frames; zeros where there are none."""
    features_NTD = without_invalid(features_NTD, valid_NT)
    count = valid_NT.sum().to(features_NTD.dtype)
    mean_D = features_NTD.sum((0, 1)) / count.clamp_min(1)
    deviations_NTD = without_invalid(features_NTD - mean_D, valid_NT)
    return count, mean_D, deviations_NTD.square().sum((0, 1)) / count.clamp_min(1)
