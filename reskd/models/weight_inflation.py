"""Weights of image networks as a start for video networks: what an image network says of every frame, they say too.

Note [A clip of one picture]
An inflated network sees a clip of equal frames as its image network sees the frame. A convolution over t frames has the
image's weights divided by t. A window over t frames sees each position t times, with the bias that it had: attention
is a mean, so t equal values change nothing. (Where a convolution pads time with zeros, only inner frames are equal.)
Video Swin starts so (arXiv:2106.13230, section 3.3).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from reskd.models.weight_names import Renamed

_WINDOW_SIDE = 7


def inflate_swin(renamed: Renamed, expected: Mapping[str, Tensor]) -> Renamed:
    """A torchvision 2-D Swin as its 3-D kin.

    Args:
        renamed: of the 2-D network.
        expected: the 3-D recogniser's state dict.
    """
    tensors: dict[str, Tensor] = {}
    sources: dict[str, str] = {}
    ignored = dict(renamed.ignored)
    for name, tensor in renamed.tensors.items():
        source, target = renamed.sources[name], _name_in_3d(name)
        if target.endswith("relative_position_index"):
            ignored[source] = "a constant, other in 3-D"
            continue
        tensors[target], sources[target] = _inflate(tensor, expected.get(target)), source
    return Renamed(renamed.layout, tensors, sources, ignored, renamed.shifted)


def _name_in_3d(name: str) -> str:
    """torchvision counts the 2-D network's patch embedding among its features, and the 3-D one's not."""
    name = re.sub(r"^backbone\.features\.0\.0\.", "backbone.patch_embed.proj.", name)
    name = re.sub(r"^backbone\.features\.0\.2\.", "backbone.patch_embed.norm.", name)
    return re.sub(r"^backbone\.features\.(\d+)\.", lambda found: f"backbone.features.{int(found[1]) - 1}.", name)


def _inflate(tensor: Tensor, like: Tensor | None) -> Tensor:
    """``tensor`` in the shape of ``like`` where the rule is known; else as it is, to be refused for its shape."""
    if like is None or like.shape == tensor.shape:
        return tensor
    if like.ndim == 5 and tensor.ndim == 4:
        num_frames = like.shape[2]
        return tensor.unsqueeze(2).expand(-1, -1, num_frames, -1, -1) / num_frames
    if tensor.ndim == 2 and len(tensor) == (2 * _WINDOW_SIDE - 1) ** 2 and len(like) % len(tensor) == 0:
        return tensor.repeat(len(like) // len(tensor), 1)
    return tensor


