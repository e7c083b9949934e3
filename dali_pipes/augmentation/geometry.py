"""Operations on the places of pixels: affine maps and erased rectangles, in relative coordinates.

uint8 frames in, uint8 frames of the same shape out. See Note [Relative coordinates] in plan.py.

Shape letters: n clips, T frames, H height, W width, C = 3 color channels, V values of a step.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from dali_pipes.augmentation.color import as_levels

# splitmix64, as in dali_pipes/sampling/counter_rng.py; int64 wraps as uint64 does.
_GAMMA, _FIRST, _SECOND = (word - 2**64 for word in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def affine(frames_nTHWC: Tensor, values_nV: Tensor) -> Tensor:
    """values: a, b, c, d, e, f and a gray level.

    The new pixel at (x, y), -1 to 1 from edge to edge, is the old one at (a x + b y + c, d x + e y + f), interpolated
    bilinearly: with the nearest pixel, teacher and student would each be off by up to half a pixel of its own. Outside
    lies the gray level.
    """
    n, num_frames, height, width, _ = frames_nTHWC.shape
    y_H1, x_W = 2 * _centers(height, values_nV)[:, None] - 1, 2 * _centers(width, values_nV) - 1
    a, b, c, d, e, f, fill = values_nV[:, :7, None, None].unbind(1)
    grid_nHW2 = torch.stack([a * x_W + b * y_H1 + c, d * x_W + e * y_H1 + f], -1).float()
    fill = fill.float().unsqueeze(1)
    planes = frames_nTHWC.permute(0, 1, 4, 2, 3).reshape(n, num_frames * 3, height, width) - fill
    moved = grid_sample(planes, grid_nHW2, mode="bilinear", padding_mode="zeros", align_corners=False).add_(fill)
    return as_levels(moved).view(n, num_frames, 3, height, width).permute(0, 1, 3, 4, 2).contiguous()


def erase_with_color(frames_nTHWC: Tensor, values_nV: Tensor) -> Tensor:
    """values: y, x, height and width of the rectangle, 0 to 1; red, green, blue."""
    return _erase(frames_nTHWC, values_nV, values_nV[:, 4:7].to(torch.uint8).view(-1, 1, 1, 3))


def erase_with_noise(frames_nTHWC: Tensor, values_nV: Tensor) -> Tensor:
    """values: y, x, height and width of the rectangle, 0 to 1; a key; height and width of the noise in cells.

    Each cell has one random color, so views of different sizes show the same noise. With cells as large as the
    student's pixels, these have independent colors, as in the paper.
    """
    key_n, cells_high_n, cells_wide_n = values_nV[:, 4:7].long().unbind(1)
    height, width = frames_nTHWC.shape[2:4]
    row_nH = (_centers(height, values_nV) * cells_high_n[:, None]).long()
    column_nW = (_centers(width, values_nV) * cells_wide_n[:, None]).long()
    cell_nHW1 = (row_nH[:, :, None] * cells_wide_n[:, None, None] + column_nW[:, None])[..., None]
    number_nHWC = 3 * cell_nHW1 + torch.arange(3, device=cell_nHW1.device)
    noise = _random_levels(key_n[:, None, None, None], number_nHWC)
    return _erase(frames_nTHWC, values_nV, noise)


def _erase(frames_nTHWC: Tensor, values_nV: Tensor, fill_nHWC: Tensor) -> Tensor:
    """Overwrite the pixels whose center lies in the rectangle."""
    height, width = frames_nTHWC.shape[2:4]
    top, left, high, wide = values_nV[:, :4, None].unbind(1)
    y_H, x_W = _centers(height, values_nV), _centers(width, values_nV)
    rows_nH, columns_nW = (top <= y_H) & (y_H < top + high), (left <= x_W) & (x_W < left + wide)
    erased_nHWC = (rows_nH[:, :, None] & columns_nW[:, None])[..., None].expand(-1, -1, -1, 3).to(torch.uint8) * 255
    # Bits of whole frames in place of torch.where, which is slower on a CPU.
    return (frames_nTHWC & ~erased_nHWC[:, None]).bitwise_or_((erased_nHWC & fill_nHWC)[:, None])


def _centers(size: int, like: Tensor) -> Tensor:
    """float64 (size,): the pixels' centers, 0 to 1 from edge to edge."""
    return (torch.arange(size, dtype=torch.float64, device=like.device) + 0.5) / size


def _random_levels(key: Tensor, number: Tensor) -> Tensor:
    """uint8: the upper byte of a hash of both."""
    state = key + (number + 1) * _GAMMA
    state = (state ^ _shifted(state, 30)) * _FIRST
    state = (state ^ _shifted(state, 27)) * _SECOND
    return (_shifted(state ^ _shifted(state, 31), 56)).to(torch.uint8)


def _shifted(words: Tensor, bits: int) -> Tensor:
    """Shifted right, with zeros from the left."""
    return (words >> bits) & (2 ** (64 - bits) - 1)
