"""Draws maps of a network over the frames of a clip.

Shape letters: T frames of a clip, t frames of a feature map, H W pixels, h w the feature map, C = 3 colors.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_STRENGTH = 0.7  # weight of the color where a map is highest
_GRAY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def scaled(maps_Thw: Tensor) -> Tensor:
    """Each map from 0 at its lowest value to 1 at its highest; 0 everywhere if all its values are the same.

    So colors compare the places of one frame for one network. They compare neither frames nor networks, whose logits
    have scales of their own.
    """
    lowest_T11, highest_T11 = maps_Thw.amin((1, 2), keepdim=True), maps_Thw.amax((1, 2), keepdim=True)
    return (maps_Thw - lowest_T11) / (highest_T11 - lowest_T11).clamp_min(torch.finfo(maps_Thw.dtype).tiny)


def nearest_map(frame_number: int, frame_index_T: Tensor, num_maps: int) -> int:
    """Which of a clip's ``num_maps`` maps belongs to the frame ``frame_number`` of the video.

    It is the map of the clip's nearest frame, the earlier one of two. A map may stand for several frames of the clip.

    Args:
        frame_index_T: numbers in the video of the clip's frames.
    """
    nearest = int((frame_index_T - frame_number).abs().argmin())
    return nearest * num_maps // len(frame_index_T)


def overlay(frame_HWC: np.ndarray, map_hw: Tensor) -> np.ndarray:
    """uint8 RGB: the frame in gray, and colors from black to bright yellow where ``map_hw`` goes from 0 to 1.

    The map is enlarged bilinearly, each of its positions standing for an equal part of the frame.
    """
    from matplotlib import colormaps

    height, width = frame_HWC.shape[:2]
    map_HW = F.interpolate(map_hw[None, None].float(), (height, width), mode="bilinear", align_corners=False)[0, 0]
    values_HW = map_HW.clamp(0, 1).numpy()
    colors_HWC = colormaps["inferno"](values_HW)[..., :3] * 255
    gray_HW = frame_HWC @ _GRAY
    weight_HW1 = (_STRENGTH * values_HW)[..., None]
    mixed_HWC = (1 - weight_HW1) * gray_HW[..., None] + weight_HW1 * colors_HWC
    return np.round(mixed_HWC).astype(np.uint8)
