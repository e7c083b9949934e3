"""Operations on the colors of clips: uint8 frames in, uint8 frames of the same shape out, rounded.

What an operation measures (a mean, the darkest and lightest value, a histogram) it measures over all frames of a clip,
in one view, and applies to both: a table for each frame would flicker, and one for each view would show teacher and
student different colors.

The arithmetic is exact, or of single elements: a clip's pixels depend neither on the other clips nor on the number of
threads.

Shape letters: n clips, T frames, H height, W width, C = 3 color channels, V values of a step, P parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor

_RED, _GREEN, _BLUE = 0.299, 0.587, 0.114  # gray of ITU-R BT.601, as PIL and torchvision have it


def as_levels(values: Tensor) -> Tensor:
    """Round to uint8; values outside 0 to 255 are set to the nearest of these. Changes ``values``."""
    return values.round_().clamp_(0, 255).to(torch.uint8)


def over_frames(values_n: Tensor) -> Tensor:
    """One float32 number a clip as (n, 1, 1, 1, 1)."""
    return values_n.float().view(-1, 1, 1, 1, 1)


def _blend(frames_nTHWC: Tensor, other: Tensor | float, factor_n: Tensor) -> Tensor:
    """``other`` + factor * (frames - other): PIL's ImageEnhance; 1 is the frame itself, more is away from ``other``."""
    factor = over_frames(factor_n)
    return as_levels((frames_nTHWC.float() * factor).add_(other * (1 - factor)))


def brightness(frames_nTHWC: Tensor, values_nV: Tensor) -> Tensor:
    """values: factor; 0 is black."""
    return as_levels(frames_nTHWC.float().mul_(over_frames(values_nV[:, 0])))


def measure_contrast(frames_nTHWC: Tensor, values_nV: Tensor) -> Tensor:
    """(factor, mean gray) of each clip."""
    num_pixels = frames_nTHWC[0, ..., 0].numel()
    red, green, blue = (frames_nTHWC.sum((1, 2, 3), dtype=torch.int64).double() / num_pixels).unbind(1)
    return torch.stack([values_nV[:, 0], red * _RED + green * _GREEN + blue * _BLUE], 1)


def contrast(frames_nTHWC: Tensor, parameters_nP: Tensor) -> Tensor:
    """parameters: as ``measure_contrast`` returns them; factor 0 is mean gray."""
    factor_n, mean_n = parameters_nP.unbind(1)
    return _blend(frames_nTHWC, over_frames(mean_n), factor_n)


def saturation(frames_nTHWC: Tensor, values_nV: Tensor) -> Tensor:
    """values: factor; 0 is gray."""
    frames = frames_nTHWC.float()
    red, green, blue = frames.split(1, dim=-1)
    return _blend(frames, (red * _RED).add_(green * _GREEN).add_(blue * _BLUE), values_nV[:, 0])


def sharpness(frames_nTHWC: Tensor, values_nV: Tensor) -> Tensor:
    """values: factor; 0 is smooth. The kernel is PIL's ImageFilter.SMOOTH; the pixels at the border stay.

    It has 3 x 3 pixels of the view, so in the student's view it reaches farther.
    """
    if min(frames_nTHWC.shape[2:4]) < 3:
        return frames_nTHWC
    frames = frames_nTHWC.float()
    rows = frames[:, :, :-2] + frames[:, :, 1:-1] + frames[:, :, 2:]
    box = rows[:, :, :, :-2] + rows[:, :, :, 1:-1] + rows[:, :, :, 2:]
    smooth = frames.clone()
    smooth[:, :, 1:-1, 1:-1] = box.add_(4 * frames[:, :, 1:-1, 1:-1]).div_(13)
    return _blend(frames, smooth, values_nV[:, 0])


def hue(frames_nTHWC: Tensor, values_nV: Tensor) -> Tensor:
    """values: part of the color circle by which the hue of HSV turns, as in torchvision's adjust_hue.

    A color of value v, chroma c and hue h (0 to 6) has red v - c f(5 + h), green v - c f(3 + h) and blue v - c f(1 + h)
    with f(k) = max(0, min(k, 4 - k, 1)), k modulo 6 (Smith 1978, doi:10.1145/965139.807361).
    """
    red, green, blue = frames_nTHWC.float().unbind(-1)
    value, lowest = torch.maximum(torch.maximum(red, green), blue), torch.minimum(torch.minimum(red, green), blue)
    chroma = value - lowest
    divisor = chroma.clamp(min=1)  # where the chroma is 0, it makes any hue gray
    of_red, of_green = (green - blue) / divisor, (blue - red) / divisor + 2
    angle = torch.where(value == red, of_red, torch.where(value == green, of_green, (red - green) / divisor + 4))
    angle += 6 * values_nV[:, 0].float().view(-1, 1, 1, 1)
    turned = torch.empty_like(frames_nTHWC)
    for channel, offset in enumerate((5, 3, 1)):
        k = (angle + offset).remainder_(6)
        turned[..., channel] = as_levels(value - chroma * torch.minimum(k, 4 - k).clamp_(0, 1))
    return turned


def measure_auto_contrast(frames_nTHWC: Tensor, values_nV: Tensor) -> Tensor:
    """(darkest, factor) of each channel of each clip, (n, 2, C); (0, 1) for a channel of one value."""
    darkest_nC = frames_nTHWC.amin((1, 2, 3)).double()
    spread_nC = frames_nTHWC.amax((1, 2, 3)).double() - darkest_nC
    is_flat = spread_nC == 0
    return torch.stack([darkest_nC.masked_fill(is_flat, 0), torch.where(is_flat, 1.0, 255 / spread_nC)], 1)


def auto_contrast(frames_nTHWC: Tensor, parameters_n2C: Tensor) -> Tensor:
    """Stretch each channel to 0 to 255 (PIL's ImageOps.autocontrast). No values."""
    darkest, factor = parameters_n2C.float().view(-1, 2, 1, 1, 1, 3).unbind(1)
    return as_levels(frames_nTHWC.float().sub_(darkest).mul_(factor))


def measure_equalize(frames_nTHWC: Tensor, values_nV: Tensor) -> Tensor:
    """The table of each channel of each clip, uint8 (n, C, 256), by the formula of PIL's ImageOps.equalize."""
    num_clips = len(frames_nTHWC)
    where = _table_index(frames_nTHWC).flatten()
    counts = torch.zeros(num_clips * 3 * 256, dtype=torch.int64, device=where.device)
    counts_nCL = counts.scatter_add_(0, where, torch.ones_like(where)).view(num_clips, 3, 256)
    levels_L = torch.arange(256, device=where.device)
    highest_nC1 = torch.where(counts_nCL > 0, levels_L, 0).amax(-1, keepdim=True)
    step_nC1 = (counts_nCL.sum(-1, keepdim=True) - counts_nCL.gather(-1, highest_nC1)) // 255
    before_nCL = counts_nCL.cumsum(-1) - counts_nCL
    table_nCL = ((step_nC1 // 2 + before_nCL) // step_nC1.clamp(min=1)).clamp_(max=255)
    return torch.where(step_nC1 == 0, levels_L, table_nCL).to(torch.uint8)


def equalize(frames_nTHWC: Tensor, tables_nCL: Tensor) -> Tensor:
    """Make the histogram of each channel flat. No values."""
    return tables_nCL.flatten()[_table_index(frames_nTHWC)]


def _table_index(frames_nTHWC: Tensor) -> Tensor:
    """The place of each value in a flattened (n, C, 256)."""
    tables = torch.arange(len(frames_nTHWC) * 3, device=frames_nTHWC.device).view(-1, 1, 1, 1, 3)
    return frames_nTHWC + 256 * tables


def posterize(frames_nTHWC: Tensor, values_nV: Tensor) -> Tensor:
    """values: number of upper bits that are kept, 4 to 8."""
    masks_n = (256 - torch.exp2(8 - values_nV[:, 0])).to(torch.uint8)
    return frames_nTHWC & masks_n.view(-1, 1, 1, 1, 1)


def solarize(frames_nTHWC: Tensor, values_nV: Tensor) -> Tensor:
    """values: level, 0 to 255, from which on values are inverted."""
    first_n = values_nV[:, 0].ceil().to(torch.uint8).view(-1, 1, 1, 1, 1)
    return (frames_nTHWC >= first_n).to(torch.uint8).mul_(255).bitwise_xor_(frames_nTHWC)
