"""The effective receptive field of a position of the last feature map, and its width.

Shape letters: N clips, T frames, D feature channels, H W the view, h w the feature map.

Note [Which gradient]
Luo et al. ("Understanding the Effective Receptive Field in Deep Convolutional Neural Networks", NeurIPS 2016,
arXiv:1701.04128) take the gradient of one unit of the last layer with respect to the input, averaged over inputs. They
treat one channel. For all channels of a position we differentiate the sum over channels of max(0, feature), the scalar
of Ding et al. ("Scaling Up Your Kernels to 31x31", CVPR 2022, arXiv:2203.06717). After a ReLU it is the plain sum. The
plain sum would not do after a layer norm, as in Video Swin: normalized channels have a constant sum, without gradient.

A pixel's value is the sum over its colors of the gradient's absolute values, then the mean over clips, over the frames
of the feature map, each of which is one unit, and over the input's frames. The field is divided by its sum.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from reskd.models.config import AggregatedConfig, TsnConfig
from reskd.models.recognizer import Recognizer

HALF, MOST = 0.5, 0.9545  # MOST: a Gaussian's share within two standard deviations


class Position(NamedTuple):
    """A row and a column of the feature map, from 0."""

    y: int
    x: int


class ReceptiveField(NamedTuple):
    """A network's field at a position.

    Attributes:
        field_HW: float64, sums to 1, on the CPU.
        position: in the feature map.
        map_size: (h, w) of the feature map.
    """

    field_HW: Tensor
    position: Position
    map_size: tuple[int, int]


class Widths(NamedTuple):
    """Widths of a field in pixels of the network's input; each is the square root of a number of pixels.

    ``side_50`` and ``side_95`` count the pixels of the smallest square around the field's center of mass that holds
    50 % and 95.45 % of its mass. That is the square's side, unless the picture's edge cuts it off. ``luo`` counts the
    pixels above 1 - 95.45 % of the largest value. Luo et al. compare with the value at the center, which is the largest
    in their smooth fields; those of networks with strides have holes.

    Attributes:
        center_yx: the center of mass, to half a pixel.
        reach_50, reach_95: of the two squares, the distance from their center to the centers of their outermost pixels.
    """

    side_50: float
    side_95: float
    luo: float
    center_yx: tuple[float, float]
    reach_50: float
    reach_95: float


def receptive_field(
    model: Recognizer, clips: Iterable[tuple[Tensor, Tensor]], position: Position | None
) -> ReceptiveField:
    """The mean field of a position over clips; see Note [Which gradient].

    Args:
        model: in eval mode.
        clips: (frames_THWC, valid_T) of each, on the model's device; at least one.
        position: None: row h // 2 and column w // 2. An even map has no middle, and that is the position to the lower
            right of it, as in Figure 4 of the ResKD paper.

    Raises:
        ValueError: the position is outside the map; no clip has a gradient there.
    """
    total_HW, num_units, map_size, chosen = torch.zeros(()), 0, (0, 0), Position(0, 0)
    for frames_THWC, valid_T in clips:
        frames_NTHWC = frames_THWC[None].float().requires_grad_()
        features_NTDHW = model(frames_NTHWC, valid_T[None]).features_NTDHW
        assert features_NTDHW is not None
        map_size = (features_NTDHW.shape[3], features_NTDHW.shape[4])
        chosen = _checked(position, map_size)
        units_T = features_NTDHW[0, :, :, chosen.y, chosen.x].relu().sum(1)
        # The mean over the input's frames only scales the field.
        total_HW = total_HW + sum(_gradients(model, units_T, frames_NTHWC), torch.zeros(()))
        num_units += len(units_T)
    assert num_units, "at least one clip"
    total = total_HW.sum()
    if not total > 0:
        raise ValueError(
            f"position {chosen.y},{chosen.x}: expected features that depend on the pixels, found a gradient of "
            f"{total.item():g} in {num_units} maps; choose another --position, more --clips, or a trained network."
        )
    return ReceptiveField((total_HW / total).cpu(), chosen, map_size)


def _gradients(model: Recognizer, units_T: Tensor, frames_NTHWC: Tensor) -> Iterable[Tensor]:
    """|gradient| over the picture, summed over colors and input frames, of each unit.

    A network that sees each frame by itself takes one pass for all: each frame's gradient is that of its own unit.
    """
    sees_single_frames = isinstance(model.config, TsnConfig | AggregatedConfig)
    targets = [units_T.sum()] if sees_single_frames else list(units_T)
    for number, target in enumerate(targets):
        (gradient_NTHWC,) = torch.autograd.grad(target, frames_NTHWC, retain_graph=number + 1 < len(targets))
        yield gradient_NTHWC.abs().double().sum((0, 1, 4))


def _checked(position: Position | None, map_size: tuple[int, int]) -> Position:
    height, width = map_size
    if position is None:
        return Position(height // 2, width // 2)
    if not (0 <= position.y < height and 0 <= position.x < width):
        raise ValueError(
            f"--position {position.y},{position.x}: expected a row of 0 to {height - 1} and a column of 0 to "
            f"{width - 1}, as the last feature map is {height} x {width}; choose such a position, or center."
        )
    return position


def widths_of(field_HW: Tensor) -> Widths:
    """The widths of a field that sums to 1."""
    height, width = field_HW.shape
    rows_H, columns_W = torch.arange(height, dtype=torch.float64), torch.arange(width, dtype=torch.float64)
    # To half a pixel, so that rounding does not tear apart pixels at equal distance.
    center_y = round(2 * float(field_HW.sum(1) @ rows_H)) / 2
    center_x = round(2 * float(field_HW.sum(0) @ columns_W)) / 2
    distance_HW = torch.maximum((rows_H - center_y).abs()[:, None], (columns_W - center_x).abs()[None])
    in_luo = int((field_HW > (1 - MOST) * field_HW.max()).sum())
    reach_50, reach_95 = (_reach(field_HW, distance_HW, share) for share in (HALF, MOST))
    side_50, side_95 = (int((distance_HW <= reach).sum()) ** 0.5 for reach in (reach_50, reach_95))
    return Widths(side_50, side_95, in_luo**0.5, (center_y, center_x), reach_50, reach_95)


def _reach(field_HW: Tensor, distance_HW: Tensor, share: float) -> float:
    """The smallest distance within which lies ``share`` of the mass."""
    order = distance_HW.flatten().argsort(stable=True)
    mass = field_HW.flatten()[order].cumsum(0)
    nearest = int((mass < share - 1e-9).sum())
    return float(distance_HW.flatten()[order][min(nearest, len(order) - 1)])
