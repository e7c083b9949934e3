"""NetVLAD with context gating, Willow's recipe for YouTube-8M (arXiv:1706.06905) without its batch norm of the input.

Shape letters: N videos, T frames, D channels of one feature group, K clusters, E embedding.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from reskd.models.aggregators.aggregator import Aggregator
from reskd.models.aggregators.config import NetVladConfig
from reskd.models.aggregators.masking import (
    EmbeddingBatchNorm,
    FrameBatchNorm,
    at_least_fp32,
    unit_length,
    without_autocast,
    without_invalid,
)


class NetVlad(Aggregator):
    """One NetVLAD for each feature group, then a hidden layer over all, with context gating.

    Args:
        group_sizes: name -> D, in the order of the groups in the features.
    """

    def __init__(self, config: NetVladConfig, group_sizes: Mapping[str, int]) -> None:
        super().__init__()
        clusters = halved_after_first(config.num_clusters, group_sizes)
        self.group_sizes = list(group_sizes.values())
        self.embedding_dim = config.hidden_dim
        self.groups = nn.ModuleDict(
            {f"{name}_vlad": _NetVladOfGroup(size, clusters[name]) for name, size in group_sizes.items()}
        )
        self.frame_layers = tuple(f"groups.{name}_vlad.assign" for name in group_sizes)
        self.hidden = nn.Linear(sum(size * clusters[name] for name, size in group_sizes.items()), config.hidden_dim)
        self.gate = nn.Linear(config.hidden_dim, config.hidden_dim, bias=False)
        self.gate_norm = EmbeddingBatchNorm(config.hidden_dim)

    def forward(self, features_NTD: Tensor, valid_NT: Tensor | None = None) -> Tensor:
        features = without_invalid(features_NTD, valid_NT).split(self.group_sizes, dim=-1)
        vectors = [group(part, valid_NT) for group, part in zip(self.groups.values(), features, strict=True)]
        hidden_NE: Tensor = self.hidden(torch.cat(vectors, -1))
        return hidden_NE * self.gate_norm(self.gate(hidden_NE)).sigmoid()


class _NetVladOfGroup(nn.Module):
    def __init__(self, feature_dim: int, num_clusters: int) -> None:
        super().__init__()
        self.assign = nn.Linear(feature_dim, num_clusters, bias=False)
        self.assign_norm = FrameBatchNorm(num_clusters)
        self.centers_KD = nn.Parameter(torch.empty(num_clusters, feature_dim))
        # As in the recipe, for the assignment weights too: frames have unit length.
        for weight in (self.assign.weight, self.centers_KD):
            nn.init.normal_(weight, std=feature_dim**-0.5)

    def forward(self, features_NTD: Tensor, valid_NT: Tensor | None) -> Tensor:
        """vector_NX, X = K * D, of unit length; zeros where no frame is valid."""
        scores_NTK = self.assign_norm(self.assign(features_NTD), valid_NT)
        assignments_NTK = without_invalid(scores_NTK.softmax(-1), valid_NT)
        return unit_length(vlad(assignments_NTK, features_NTD, self.centers_KD).flatten(1))


def vlad(assignments_NPK: Tensor, points_NPD: Tensor, centers_KD: Tensor) -> Tensor:
    """residuals_NKD, fp32: the points of a cluster minus its center, summed and scaled to unit length per cluster.

    NetVLAD (arXiv:1511.07247), equation 4 and its intra-normalization. In fp32 also under autocast: gradients are
    divided by the length of the sum; without points or with small weights they grow by up to 1e6, beyond fp16's 65,504.

    Args:
        assignments_NPK: 0 for missing points, which must be finite.
    """
    with without_autocast(points_NPD):
        assignments_NPK, points_NPD = at_least_fp32(assignments_NPK), at_least_fp32(points_NPD)
        sums_NKD = assignments_NPK.transpose(1, 2) @ points_NPD
        of_centers_NKD = assignments_NPK.sum(1)[..., None] * centers_KD
        return unit_length(sums_NKD - of_centers_NKD)


def halved_after_first(value: int, group_sizes: Mapping[str, int]) -> dict[str, int]:
    """``value`` for the first feature group, half of it for the others, at least 1."""
    return {name: value if index == 0 else max(1, value // 2) for index, name in enumerate(group_sizes)}
