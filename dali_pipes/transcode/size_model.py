"""Predict sizes and times of many outputs from trial encodes of a few: plain arithmetic.

Each file is predicted from the trials that are most like it in codec, frame size and bit rate. A mean over all trials
would be wrong for mixed folders, where a few large files hold most of the bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_OTHER_CODEC = 2.0  # as far as a factor of 4 in frame size or bit rate
_SHARPNESS = 2.0  # a trial twice as far, in factors of 2, has a quarter of the weight
_LEAST_ERROR = 0.1  # of the natural logarithm of the total


class FileFacts(NamedTuple):
    """What a file's header tells.

    Args:
        num_bytes: size of the file.
        num_frames: number of frames.
        pixels_in, pixels_out: pixels of a frame of the source and of the output.
    """

    codec: str
    num_bytes: int
    num_frames: float
    pixels_in: int
    pixels_out: int


class Trial(NamedTuple):
    """An encode of the first ``num_frames`` of a file: output bytes, CPU seconds."""

    facts: FileFacts
    num_frames: int
    bytes_out: int
    cpu_s: float


class Total(NamedTuple):
    """Predicted total of outputs; ``low`` to ``high`` is the range of two standard errors."""

    bytes_out: float
    low: float
    high: float
    cpu_s: float


def choose_trials(facts: Sequence[FileFacts], count: int) -> list[int]:
    """Choose files for trial encodes: of every codec, frame size and bit rate, and of the largest.

    Returns:
        Indices into ``facts``, at most ``count``, in increasing order; the same for any order of the files.
    """
    order = sorted(range(len(facts)), key=lambda index: (*_place(facts[index]), facts[index]))
    if len(order) <= count:
        return sorted(order)
    weights = np.array([math.sqrt(facts[index].num_frames * facts[index].pixels_out) for index in order])
    ends = np.cumsum(weights) / weights.sum()
    chosen = {order[int(np.searchsorted(ends, (step + 0.5) / count))] for step in range(count)}
    for index in sorted(order, key=lambda index: -facts[index].num_frames * facts[index].pixels_out):
        if len(chosen) >= count:
            break
        chosen.add(index)
    return sorted(chosen)


def predict_total(facts: Sequence[FileFacts], trials: Sequence[Trial]) -> Total:
    """Predict the outputs of all files of ``facts``, of which some were tried."""
    rates = np.array([[trial.bytes_out, 1e6 * trial.cpu_s] for trial in trials])
    rates /= np.array([[trial.num_frames * trial.facts.pixels_out, trial.num_frames] for trial in trials])
    places = [_place(trial.facts) for trial in trials]
    sizes, times = [], []
    for one in facts:
        per_pixel, per_frame = _mean_of_alike(_place(one), places, rates)
        sizes.append(per_pixel * one.pixels_out * one.num_frames)
        times.append(per_frame * 1e-6 * one.num_frames)
    total = float(np.sum(sizes))
    error = _error_of_total(places, rates[:, :1], np.array(sizes) / max(total, 1e-9))
    return Total(total, total * math.exp(-error), total * math.exp(error), float(np.sum(times)))


def _place(facts: FileFacts) -> tuple[str, float, float]:
    """Codec, and the base-2 logarithms of the frame size and of the bytes of a frame for each output pixel."""
    per_frame = max(1.0, facts.num_bytes / max(1.0, facts.num_frames))
    return facts.codec, math.log2(max(1, facts.pixels_in)), math.log2(per_frame / max(1, facts.pixels_out))


def _mean_of_alike(
    place: tuple[str, float, float], places: Sequence[tuple[str, float, float]], rates: np.ndarray
) -> np.ndarray:
    """Geometric mean (R,) of the trials' rates (trials, R), each weighted by its likeness."""
    far = [
        _OTHER_CODEC * (place[0] != other[0]) + abs(place[1] - other[1]) + abs(place[2] - other[2]) for other in places
    ]
    weights = np.exp2(-_SHARPNESS * np.array(far) + _SHARPNESS * min(far))
    return np.exp(weights @ np.log(np.maximum(rates, 1e-9)) / weights.sum())


def _error_of_total(places: Sequence[tuple[str, float, float]], rates: np.ndarray, shares: np.ndarray) -> float:
    """Two standard errors of the logarithm of the total, from leaving out one trial after the other."""
    if len(places) < 3:
        return math.log(4)
    errors = []
    for left_out, place in enumerate(places):
        others = [number for number in range(len(places)) if number != left_out]
        predicted = _mean_of_alike(place, [places[number] for number in others], rates[others])
        errors.append(math.log(predicted[0] / max(rates[left_out, 0], 1e-9)))
    # Files that are like the same trial share its error, so there are no more independent errors than trials.
    num_independent = min(len(places), 1 / max(1e-9, float(np.sum(shares**2))))
    return max(_LEAST_ERROR, 2 * float(np.sqrt(np.mean(np.square(errors)) / num_independent)))
