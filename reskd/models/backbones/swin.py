"""Video Swin (arXiv:2106.13230) up to its last norm: torchvision's network, and correct windows on small maps.

Shape letters: N clips, T H W of a map of patches (2 frames x 4 x 4 pixels at first), V windows in it, L patches in a
window, C channels, A attention heads.

Note [Windows on small maps]
``published``: as torchvision and the paper's code (shifted_window_attention_3d, checked in torchvision 0.21 and 0.29).
Axis by axis, where a map is no longer than the window of 8 x 7 x 7, the window shrinks to the map and is not shifted.
The position biases are then read at the first L x L entries of a whole window's index. Those belong to other offsets
as soon as H or W shrinks: in a 4 x 4 map the patch below is looked up as if it were 4 to the right. Where a map is
longer and no multiple of the window, zeros are appended after the norm, and the patches beside them attend to them:
keys and values are then the biases of the projection.
``masked``: the same windows and shifts, but each pair of patches has the bias of its own offset, and no patch attends
to padding. A window of 8 x 7 x 7 masked outside a small map gives the same result as one shrunk to the map with
correct offsets; the second is computed.
Both modes agree where height and width are multiples of the window at every stage, as at 224 pixels, and time is a
multiple too or fits into one window.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.swin_transformer import SwinTransformerBlock
from torchvision.models.video.swin_transformer import ShiftedWindowAttention3d
from torchvision.ops import StochasticDepth
from torchvision.ops.misc import Permute

from reskd.models.config import SwinConfig

PATCH_FRAMES = 2
_Size = Sequence[int]


def build_swin(config: SwinConfig) -> tuple[nn.Sequential, int]:
    """(network, feature_dim): clips_NCTHW -> features_NDTHW with half as many frames.

    It has random weights, torchvision's names and no classifier.
    """

    def make_block(*args: Any, **settings: Any) -> nn.Module:
        if config.window == "masked":
            settings["attn_layer"] = MaskedWindowAttention
        return SwinTransformerBlock(*args, **settings)

    network = get_model(config.backbone, weights=None, block=make_block)
    _set_stochastic_depth(network, config.stochastic_depth)
    parts = OrderedDict((name, getattr(network, name)) for name in ("patch_embed", "pos_drop", "features", "norm"))
    parts["to_NDTHW"] = Permute([0, 4, 1, 2, 3])
    return nn.Sequential(parts), network.num_features


class MaskedWindowAttention(ShiftedWindowAttention3d):
    """Window attention with correct offsets and masked padding. See Note [Windows on small maps]."""

    def forward(self, map_NTHWC: Tensor) -> Tensor:
        size = map_NTHWC.shape[1:4]
        window = [min(pair) for pair in zip(size, self.window_size, strict=True)]
        shift = [s if side > full else 0 for side, full, s in zip(size, self.window_size, self.shift_size, strict=True)]
        padding = [-side % part for side, part in zip(size, window, strict=True)]
        padded_NTHWC = map_NTHWC
        if any(padding):
            padded_NTHWC = F.pad(map_NTHWC, (0, 0, 0, padding[2], 0, padding[1], 0, padding[0]))
        windows_NVLC = _cut(_roll(padded_NTHWC, [-s for s in shift]), window)
        apart_VLL = None
        if any(padding) or any(shift):
            regions_THW1 = _regions(size, padded_NTHWC.shape[1:4], shift, device=map_NTHWC.device)
            regions_VL = _cut(_roll(regions_THW1[None], [-s for s in shift]), window)[0, :, :, 0]
            apart_VLL = regions_VL[:, :, None] != regions_VL[:, None, :]
        attended_NVLC = self._attend(windows_NVLC, self._position_bias(window), apart_VLL)
        whole_NTHWC = _roll(_join(attended_NVLC, window, padded_NTHWC.shape[1:4]), shift)
        return whole_NTHWC[:, : size[0], : size[1], : size[2]] if any(padding) else whole_NTHWC

    def _position_bias(self, window: _Size) -> Tensor:
        """bias_ALL: each pair's bias by its offset, in a window that may be smaller than the full one."""
        t, h, w = window
        index = self.relative_position_index.view(*self.window_size, *self.window_size)[:t, :h, :w, :t, :h, :w]
        num_patches = t * h * w
        return self.relative_position_bias_table[index.reshape(num_patches, num_patches)].permute(2, 0, 1)

    def _attend(self, windows_NVLC: Tensor, bias_ALL: Tensor, apart_VLL: Tensor | None) -> Tensor:
        # No dropout here: torchvision builds these networks with 0.
        heads_NVL3AC = self.qkv(windows_NVLC).unflatten(-1, (3, self.num_heads, -1))
        queries, keys, values = heads_NVL3AC.permute(3, 0, 1, 4, 2, 5)
        scores_NVALL = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-2, -1) + bias_ALL
        if apart_VLL is not None:
            scores_NVALL = scores_NVALL.masked_fill(apart_VLL[:, None], float("-inf"))
        attended_NVALC = scores_NVALL.softmax(-1) @ values
        projected_NVLC: Tensor = self.proj(attended_NVALC.transpose(2, 3).flatten(3))
        return projected_NVLC


def _set_stochastic_depth(network: nn.Module, last: float) -> None:
    """Linear from 0 at the first block to ``last`` at the last one; torchvision has no setting for it."""
    layers = [module for module in network.modules() if isinstance(module, StochasticDepth)]
    for number, layer in enumerate(layers):
        layer.p = last * number / (len(layers) - 1)


def _roll(map_NTHWC: Tensor, shift: _Size) -> Tensor:
    return torch.roll(map_NTHWC, tuple(shift), dims=(1, 2, 3)) if any(shift) else map_NTHWC


def _cut(map_NTHWC: Tensor, window: _Size) -> Tensor:
    """windows_NVLC of a map whose sides are multiples of the window's."""
    n, t, h, w, c = map_NTHWC.shape
    parts = map_NTHWC.view(n, t // window[0], window[0], h // window[1], window[1], w // window[2], window[2], c)
    return parts.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4, 6).flatten(1, 3)


def _join(windows_NVLC: Tensor, window: _Size, size: _Size) -> Tensor:
    """The map_NTHWC of ``size``: the inverse of ``_cut``."""
    numbers = [side // part for side, part in zip(size, window, strict=True)]
    parts = windows_NVLC.unflatten(2, tuple(window)).unflatten(1, numbers)
    return parts.permute(0, 1, 4, 2, 5, 3, 6, 7).flatten(5, 6).flatten(3, 4).flatten(1, 2)


def _regions(size: _Size, padded: _Size, shift: _Size, *, device: torch.device) -> Tensor:
    """regions_THW1: patches of one window attend to each other only where these numbers are equal.

    Rolling puts the first patches of an axis into one window with its last ones, which are no neighbors. Padding is a
    region too, so every patch attends to at least one: a softmax over none is NaN.
    """
    coordinates = torch.meshgrid(*(torch.arange(side, device=device) for side in padded), indexing="ij")
    outside = torch.zeros(tuple(padded), dtype=torch.bool, device=device)
    regions = torch.zeros(tuple(padded), dtype=torch.int32, device=device)
    for coordinate, side, moved in zip(coordinates, size, shift, strict=True):
        outside = outside | (coordinate >= side)
        regions = 2 * regions + (coordinate < moved)
    return regions.masked_fill(outside, -1)[..., None]
