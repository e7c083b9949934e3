"""Weights of image networks as a start for video networks.

Note [A clip of one picture]
An inflated network sees a clip of equal frames as its image network sees the frame. A convolution over t frames has the
image's weights divided by t. A window over t frames sees each position t times, with the bias that it had: attention
is a mean, so t equal values change nothing. (Where a convolution pads time with zeros, only inner frames are equal.)
I3D (arXiv:1705.07750) and Video Swin (arXiv:2106.13230, section 3.3) start so.
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
    """``renamed`` itself if it is of a network of the right kind, else its tensors inflated where the rule is known.

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
    """torchvision counts a 2-D Swin's patch embedding among its features, and the 3-D one's not."""
    tensors: dict[str, Tensor] = {}
    sources: dict[str, str] = {}
    ignored = dict(renamed.ignored)
    for name, tensor in renamed.tensors.items():
        source = renamed.sources[name]
        if name.endswith("relative_position_index"):
            ignored[source] = "a constant, other in 3-D"
            continue
        target = re.sub(r"^backbone\.features\.0\.0\.", "backbone.patch_embed.proj.", name)
        target = re.sub(r"^backbone\.features\.0\.2\.", "backbone.patch_embed.norm.", target)
        target = re.sub(r"^(backbone\.features\.)(\d+)", lambda found: f"{found[1]}{int(found[2]) - 1}", target)
        tensors[target], sources[target] = tensor, source
    return replace(renamed, tensors=tensors, sources=sources, ignored=ignored)


def _repeat_in_time(table: Tensor, like: Tensor | None) -> Tensor:
    """A table of position biases, one for each offset in the plane, with that bias for each offset in time too."""
    is_table = like is not None and like.ndim == table.ndim == 2 and like.shape[1] == table.shape[1]
    if like is None or not is_table or len(like) != _NUM_OFFSETS_IN_TIME * len(table):
        return table
    return table.repeat(_NUM_OFFSETS_IN_TIME, 1)
