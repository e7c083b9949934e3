"""Features as bytes: the published formula, its error, and what cannot be stored."""

from __future__ import annotations

import numpy as np
import pytest

from dali_pipes.features.quantization import dequantize, quantize_scaled


def test_bytes_stand_for_what_youtube_8m_says() -> None:
    # (4 / 255) * q + 4 / 512 - 2
    found = dequantize(np.array([[0, 127, 128, 255]], np.uint8))
    assert found[0] == pytest.approx([-1.9921875, -0.0000306, 0.0156556, 2.0078125], abs=1e-6)


def test_each_frame_fills_the_range_by_itself() -> None:
    features_TD = np.array([[1.0, -0.5, 0.0], [2000.0, -1000.0, 0.0], [1e-30, -5e-31, 0.0]])
    data_TD = quantize_scaled(features_TD).data_TD
    assert (data_TD == data_TD[0]).all()
    assert dequantize(data_TD)[0] == pytest.approx([2, -1, 0], abs=4 / 255 / 2)


def test_the_direction_of_a_frame_survives_and_the_error_is_what_is_lost() -> None:
    features_TD = np.maximum(np.random.default_rng(0).normal(size=(20, 512)), 0).astype(np.float32)
    data_TD, error_T = quantize_scaled(features_TD)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (features_TD, dequantize(data_TD))]
    off_T = np.linalg.norm(unit[0] - unit[1], axis=1)
    assert error_T.max() < 0.01
    assert off_T == pytest.approx(error_T, rel=0.05)


def test_a_frame_of_zeros_and_no_frames_are_taken() -> None:
    data_TD, error_T = quantize_scaled(np.zeros((1, 3)))
    assert np.abs(dequantize(data_TD)).max() < 0.01
    assert error_T.tolist() == [0]
    assert quantize_scaled(np.empty((0, 3))).data_TD.shape == (0, 3)


def test_the_largest_numbers_do_not_overflow() -> None:
    assert quantize_scaled(np.full((1, 2), np.finfo(np.float32).max)).data_TD.min() > 250


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="expected finite features, found NaN or infinity"):
        quantize_scaled(np.array([[1.0, bad]]))
