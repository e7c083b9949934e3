"""NeXtVLAD (arXiv:1811.05014), sizes and norms of its public recipe for YouTube-8M.

Shape letters: N videos, T frames, D channels of one feature group, S splits, d channels of a split, K clusters,
E embedding.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from reskd.models.aggregators.aggregator import Aggregator
from reskd.models.aggregators.config import NextVladConfig
from reskd.models.aggregators.masking import EmbeddingBatchNorm, FrameBatchNorm, without_invalid
from reskd.models.aggregators.netvlad import halved_after_first, vlad


class NextVlad(Aggregator):
    """One NeXtVLAD for each feature group, then a hidden layer over all with squeeze-and-excitation gates.

    Args:
        group_sizes: name -> D, in the order of the groups in the features.

    Raises:
        ValueError: a group's expanded vector cannot be cut into its splits, or the gates would have width 0.
    """

    def __init__(self, config: NextVladConfig, group_sizes: Mapping[str, int]) -> None:
        super().__init__()
        clusters = halved_after_first(config.num_clusters, group_sizes)
        splits = halved_after_first(config.num_splits, group_sizes)
        self.group_sizes = list(group_sizes.values())
        self.embedding_dim = config.hidden_dim
        self.groups = nn.ModuleDict(
            {
                f"{name}_vlad": _NextVladOfGroup(
                    name, size, expansion=config.expansion, num_splits=splits[name], num_clusters=clusters[name]
                )
                for name, size in group_sizes.items()
            }
        )
        self.frame_layers = tuple(
            f"groups.{name}_vlad.{layer}" for name in group_sizes for layer in ("expand", "attend", "assign")
        )
        vector_dim = sum(clusters[name] * config.expansion * size // splits[name] for name, size in group_sizes.items())
        self.dropout = nn.Dropout(config.dropout)
        self.hidden = nn.Linear(vector_dim, config.hidden_dim, bias=False)
        self.hidden_norm = EmbeddingBatchNorm(config.hidden_dim)
        gate_dim = _gate_dim(config)
        self.squeeze = nn.Linear(config.hidden_dim, gate_dim, bias=False)
        self.squeeze_norm = EmbeddingBatchNorm(gate_dim)
        self.excite = nn.Linear(gate_dim, config.hidden_dim, bias=False)

    def forward(self, features_NTD: Tensor, valid_NT: Tensor | None = None) -> Tensor:
        features = without_invalid(features_NTD, valid_NT).split(self.group_sizes, dim=-1)
        vectors = [group(part, valid_NT) for group, part in zip(self.groups.values(), features, strict=True)]
        hidden_NE: Tensor = self.hidden_norm(self.hidden(self.dropout(torch.cat(vectors, -1))))
        return hidden_NE * self.excite(self.squeeze_norm(self.squeeze(hidden_NE)).relu()).sigmoid()


class _NextVladOfGroup(nn.Module):
    def __init__(self, name: str, feature_dim: int, *, expansion: int, num_splits: int, num_clusters: int) -> None:
        super().__init__()
        expanded_dim = expansion * feature_dim
        if expanded_dim % num_splits:
            raise ValueError(
                f"nextvlad: expected {expansion} times the {feature_dim} features of {name} to be cut into "
                f"{num_splits} equal splits, found {expanded_dim}; change num_splits or expansion."
            )
        self.num_splits = num_splits
        self.expand = nn.Linear(feature_dim, expanded_dim)
        self.attend = nn.Linear(expanded_dim, num_splits)
        self.assign = nn.Linear(expanded_dim, num_splits * num_clusters, bias=False)
        self.assign_norm = FrameBatchNorm(num_splits * num_clusters)
        split_dim = expanded_dim // num_splits
        self.centers_Kd = nn.Parameter(torch.empty(num_clusters, split_dim))
        nn.init.normal_(self.centers_Kd, std=split_dim**-0.5)
        self.norm = EmbeddingBatchNorm(num_clusters * split_dim)

    def forward(self, features_NTD: Tensor, valid_NT: Tensor | None) -> Tensor:
        """vector_NX, X = K * d, each cluster of unit length before batch norm; zeros there if no frame is valid."""
        expanded_NTX = self.expand(features_NTD)
        attention_NTS = without_invalid(self.attend(expanded_NTX).sigmoid(), valid_NT)
        scores_NTX = self.assign_norm(self.assign(expanded_NTX), valid_NT)
        scores_NTSK = scores_NTX.unflatten(-1, (self.num_splits, -1))
        assignments_NTSK = scores_NTSK.softmax(-1) * attention_NTS[..., None]
        points_NTSd = expanded_NTX.unflatten(-1, (self.num_splits, -1))
        residuals_NKd = vlad(assignments_NTSK.flatten(1, 2), points_NTSd.flatten(1, 2), self.centers_Kd)
        vector_NX: Tensor = self.norm(residuals_NKd.flatten(1))
        return vector_NX


def _gate_dim(config: NextVladConfig) -> int:
    if config.hidden_dim < config.gating_reduction:
        raise ValueError(
            f"nextvlad: expected hidden_dim of at least gating_reduction = {config.gating_reduction}, found "
            f"{config.hidden_dim}; lower gating_reduction."
        )
    return config.hidden_dim // config.gating_reduction
