from __future__ import annotations

import numpy as np
import pytest
import torch

from reskd.analysis.overlays import nearest_map, overlay, scaled


def test_each_map_goes_from_0_to_1_and_a_flat_one_is_0() -> None:
    maps_Thw = torch.tensor([[[-3.0, 1.0]], [[5.0, 5.0]]])
    assert scaled(maps_Thw).tolist() == [[[0, 1]], [[0, 0]]]


@pytest.mark.parametrize(
    ("frame", "index", "num_maps", "expected"),
    [(12, [0, 10, 20, 30], 4, 1), (12, [0, 10, 20, 30], 2, 0), (29, [0, 10, 20, 30], 2, 1), (5, [0, 10], 2, 0)],
)
def test_a_frame_has_the_map_of_the_nearest_frame(frame: int, index: list[int], num_maps: int, expected: int) -> None:
    assert nearest_map(frame, torch.tensor(index), num_maps) == expected


def test_an_overlay_is_gray_where_the_map_is_0_and_yellow_where_it_is_1() -> None:
    frame_HWC = np.full((40, 60, 3), (200, 100, 50), np.uint8)
    found = overlay(frame_HWC, torch.tensor([[0.0, 1.0]]))
    gray = round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert found.shape == frame_HWC.shape and found.dtype == np.uint8
    assert found[20, 0].tolist() == [gray] * 3
    # inferno's last color is (252, 255, 164)
    expected = [round(0.3 * 124.2 + 0.7 * channel) for channel in (252, 255, 164)]
    assert np.abs(found[20, 59].astype(int) - expected).max() <= 1
