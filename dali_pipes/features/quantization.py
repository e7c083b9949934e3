"""Quantize frame features to bytes as in YouTube-8M: numbers in [-2, 2] in 256 steps.

Note [How features are scaled]
A byte q means q * 4 / 255 + 4 / 512 - 2 (the Dequantize of YouTube-8M's released code). YouTube-8M's features are
whitened and lie within [-2, 2]; those of other networks do not. So each frame's vector is multiplied by 2 / its largest
absolute value, and nothing is clipped. Networks divide each frame's vector by its length, which removes the factor. The
vector's length is lost, as it is in those networks.

Shape letters: T frames, D features.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_STEP, _LOWEST = 4 / 255, 4 / 512 - 2
_LARGEST = 2.0


class Quantized(NamedTuple):
    """Quantized features and their error.

    Args:
        data_TD: uint8.
        error_T: float32, length of the error over the vector's length; 0 for a zero vector.
    """

    data_TD: np.ndarray
    error_T: np.ndarray


def quantize_scaled(features_TD: np.ndarray) -> Quantized:
    """Scale each frame separately, then round to the nearest step. See Note [How features are scaled].

    Args:
        features_TD: floating point.

    Raises:
        ValueError: a number is not finite.
    """
    features_TD = np.asarray(features_TD, np.float32)
    if not np.isfinite(features_TD).all():
        raise ValueError("expected finite features, found NaN or infinity; check the network's weights.")
    largest_T1 = np.abs(features_TD).max(1, keepdims=True, initial=0)
    # Divide first: the largest float32 times 2 would overflow.
    scaled_TD = features_TD / np.where(largest_T1 > 0, largest_T1, 1) * _LARGEST
    data_TD = to_bytes(scaled_TD)
    lengths_T = np.linalg.norm(scaled_TD, axis=1)
    off_T = np.linalg.norm(dequantize(data_TD) - scaled_TD, axis=1)
    return Quantized(data_TD, np.divide(off_T, lengths_T, out=np.zeros_like(off_T), where=lengths_T > 0))


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Round floating-point values in [-2, 2] to the nearest bytes (uint8); values beyond are clipped."""
    return np.rint((values - _LOWEST) / _STEP).clip(0, 255).astype(np.uint8)


def dequantize(data_TD: np.ndarray) -> np.ndarray:
    """Convert bytes to their float32 values."""
    return data_TD.astype(np.float32) * np.float32(_STEP) + np.float32(_LOWEST)
