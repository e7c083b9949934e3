"""The measured field of known convolutions is the one that their kernels give, and widths are counted right."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from reskd.analysis.receptive_field import Position, receptive_field, widths_of
from tests.reskd.analysis.stacks import convolution, mixing, tsn

SIDE = 33
BINOMIAL = torch.tensor([1.0, 2.0, 1.0])


def clips(count: int = 2, *, frames: int = 2) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    shape = (frames, SIDE, SIDE, 3)
    pictures = [torch.randint(200, 256, shape, dtype=torch.uint8, generator=generator) for _ in range(count)]
    return [(frames_THWC, torch.ones(frames, dtype=torch.bool)) for frames_THWC in pictures]


def test_convolutions_of_ones_reach_as_far_as_their_kernels_and_no_farther() -> None:
    model = tsn(*(convolution(torch.ones(3, 3)) for _ in range(3)))
    field_HW = receptive_field(model, clips(), None).field_HW
    expected_7 = torch.tensor([1.0, 3.0, 6.0, 7.0, 6.0, 3.0, 1.0], dtype=torch.float64) / 27
    outside_HW = field_HW.clone()
    outside_HW[13:20, 13:20] = 0
    assert torch.count_nonzero(outside_HW) == 0
    torch.testing.assert_close(field_HW[13:20, 13:20], torch.outer(expected_7, expected_7), atol=1e-7, rtol=0)


def test_binomial_kernels_give_the_binomial_distribution_at_any_position() -> None:
    num_layers = 4
    model = tsn(*(convolution(torch.outer(BINOMIAL, BINOMIAL)) for _ in range(num_layers)))
    field_HW = receptive_field(model, clips(), Position(20, 10)).field_HW
    steps = 2 * num_layers
    row = torch.tensor([math.comb(steps, k) / 2**steps for k in range(steps + 1)], dtype=torch.float64)
    torch.testing.assert_close(field_HW[16:25, 6:15], torch.outer(row, row), atol=1e-7, rtol=0)
    assert field_HW.sum().item() == pytest.approx(1)


def test_units_of_several_frames_do_not_cancel_one_another() -> None:
    """Each frame is seen by its own unit with +8 and by the next one with -0.5: |8| + |-0.5|, not |8 - 0.5|."""
    middle = torch.zeros(3, 3)
    middle[1, 1] = 8
    model = mixing(convolution(middle), convolution(torch.full((3, 3), -0.5)))
    field_HW = receptive_field(model, clips(frames=3), None).field_HW
    expected_33 = torch.full((3, 3), 0.5, dtype=torch.float64)
    expected_33[1, 1] = 8.5
    torch.testing.assert_close(field_HW[15:18, 15:18], expected_33 / 12.5, atol=1e-7, rtol=0)


def test_a_position_without_a_gradient_is_told() -> None:
    model = tsn(convolution(torch.full((3, 3), -1.0)), nn.ReLU())
    bright = [(torch.full((2, SIDE, SIDE, 3), 255, dtype=torch.uint8), torch.ones(2, dtype=torch.bool))]
    with pytest.raises(ValueError, match=r"features that depend on the pixels, found a gradient of 0 in 2 maps"):
        receptive_field(model, bright, None)


def test_center_of_an_even_map_is_the_position_to_the_lower_right() -> None:
    model = tsn(convolution(torch.ones(3, 3)), nn.AdaptiveAvgPool2d((4, 5)))
    found = receptive_field(model, clips(), None)
    assert (found.position, found.map_size) == ((2, 2), (4, 5))


@pytest.mark.parametrize("position", [Position(4, 0), Position(0, 5)])
def test_a_position_outside_the_map_is_refused_with_its_size(position: Position) -> None:
    model = tsn(convolution(torch.ones(3, 3)), nn.AdaptiveAvgPool2d((4, 5)))
    with pytest.raises(ValueError, match=r"a row of 0 to 3 and a column of 0 to 4, as the last feature map is 4 x 5"):
        receptive_field(model, clips(), position)


def test_widths_of_a_uniform_block_are_those_of_its_squares() -> None:
    field_HW = torch.zeros(40, 30, dtype=torch.float64)
    field_HW[10:21, 5:16] = 1 / 121
    widths = widths_of(field_HW)
    assert widths.center_yx == (15, 10)
    # 7 x 7 holds 40 %, 9 x 9 holds 67 %; 11 x 11 is the first that holds 95.45 %.
    assert (widths.side_50, widths.side_95, widths.luo) == (9, 11, 11)
    assert (widths.reach_50, widths.reach_95) == (4, 5)


def test_the_edge_of_the_picture_cuts_a_square_and_luo_counts_above_the_threshold() -> None:
    field_HW = torch.zeros(20, 20, dtype=torch.float64)
    field_HW[0, 9:12] = torch.tensor([0.03, 0.95, 0.02], dtype=torch.float64)
    widths = widths_of(field_HW)
    assert widths.center_yx == (0, 10)
    assert widths.side_50 == 1  # of the pixel itself
    assert widths.side_95 == 6**0.5  # 2 rows of 3: the row above is outside
    assert widths.luo == 1  # 4.55 % of 0.95 is 0.043
    field_HW[0, 9] = 0.05
    assert widths_of(field_HW / field_HW.sum()).luo == 2**0.5
