"""What NetVLAD and NeXtVLAD share. Shape letters: N videos, P points, D channels of a point, K clusters."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from reskd.models.aggregators.masking import at_least_fp32, unit_length, without_autocast


def vlad(assignments_NPK: Tensor, points_NPD: Tensor, centres_KD: Tensor) -> Tensor:
    """residuals_NKD, fp32: what the points of a cluster have beyond its centre, summed, each cluster of unit length.

    NetVLAD (arXiv:1511.07247), equation 4 and its intra-normalisation. In fp32 also under autocast: a gradient grows by
    one over the length of the sum, which without points or with small shares is up to 1e6, and passes fp16's 65,504.

    Args:
        assignments_NPK: 0 for points that are not there, which must be finite.
    """
    with without_autocast(points_NPD):
        assignments_NPK, points_NPD = at_least_fp32(assignments_NPK), at_least_fp32(points_NPD)
        sums_NKD = assignments_NPK.transpose(1, 2) @ points_NPD
        of_centres_NKD = assignments_NPK.sum(1)[..., None] * centres_KD
        return unit_length(sums_NKD - of_centres_NKD)


def halved_after_first(value: int, group_sizes: Mapping[str, int]) -> dict[str, int]:
    """``value`` for the first feature group, half of it for the others, at least 1."""
    return {name: value if place == 0 else max(1, value // 2) for place, name in enumerate(group_sizes)}
