"""Inflates weights of image networks into initial weights of video networks.

Note [A clip of one picture]
For a clip of equal frames, an inflated network gives the outputs of its image network for the frame. A convolution over
t frames has the image network's weights divided by t. A window over t frames has each position t times, each with its
old bias: attention is a mean, so t equal values change nothing. (Where a convolution pads time with zeros, only inner
frames are equal.) I3D (arXiv:1705.07750) and Video Swin (arXiv:2106.13230, section 3.3) start this way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from reskd.models.backbones.slow_only import inflate_state
from reskd.models.weights.names import Renamed

# Of a window of 8 maps: -7 to 7.
_NUM_OFFSETS_IN_TIME = 15


def inflate(renamed: Renamed, expected: Mapping[str, Tensor]) -> Renamed:
    """``renamed`` itself if its network has the right kind, else its tensors inflated where a rule is known.

    Args:
        expected: the recognizer's state dict.
    """
    to_3d_swin = "backbone.patch_embed.proj.weight" in expected and "backbone.features.0.0.weight" in renamed.tensors
    if to_3d_swin:
        renamed = _with_3d_names(renamed)
    tensors = {name: _repeat_in_time(tensor, expected.get(name)) for name, tensor in renamed.tensors.items()}
    tensors = inflate_state(tensors, like=expected)
    is_changed = any(tensor is not renamed.tensors[name] for name, tensor in tensors.items())
    return replace(renamed, tensors=tensors) if is_changed else renamed


def _with_3d_names(renamed: Renamed) -> Renamed:
    """In torchvision the patch embedding is part of a 2-D Swin's features, but not of a 3-D one's."""
    tensors: dict[str, Tensor] = {}
    sources: dict[str, str] = {}
    ignored = dict(renamed.ignored)
    for name, tensor in renamed.tensors.items():
        source = renamed.sources[name]
        if name.endswith("relative_position_index"):
            ignored[source] = "a constant that differs in 3-D"
            continue
        target = re.sub(r"^backbone\.features\.0\.0\.", "backbone.patch_embed.proj.", name)
        target = re.sub(r"^backbone\.features\.0\.2\.", "backbone.patch_embed.norm.", target)
        target = re.sub(r"^(backbone\.features\.)(\d+)", lambda found: f"{found[1]}{int(found[2]) - 1}", target)
        tensors[target], sources[target] = tensor, source
    return replace(renamed, tensors=tensors, sources=sources, ignored=ignored)


def _repeat_in_time(table: Tensor, like: Tensor | None) -> Tensor:
    """Repeat a table of position biases, one per offset in the plane, for every offset in time."""
    is_table = like is not None and like.ndim == table.ndim == 2 and like.shape[1] == table.shape[1]
    if like is None or not is_table or len(like) != _NUM_OFFSETS_IN_TIME * len(table):
        return table
    return table.repeat(_NUM_OFFSETS_IN_TIME, 1)
