"""Stateless random numbers: hashes of counters.

The hash is splitmix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195). It is written out here because
numpy's generators do not guarantee the same stream across versions.
"""

from __future__ import annotations

import math

import numpy as np

_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def hash_words(*words: int | np.ndarray) -> np.ndarray:
    """Hash a tuple of non-negative integers to uint64; arrays broadcast and give an array of hashes."""
    state = np.zeros(1, np.uint64)
    with np.errstate(over="ignore"):  # arithmetic is modulo 2**64
        for word in words:
            state = _mix(state + _GAMMA + _mix(np.asarray(word).astype(np.uint64) + _GAMMA))
    return state


def uniform(*words: int | np.ndarray) -> np.ndarray:
    """Return float64 in [0, 1): the upper 53 bits of ``hash_words``."""
    return (hash_words(*words) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permuted(index: int, size: int, key: tuple[int, ...]) -> int:
    """Place of ``index`` (0 to size - 1) in a random permutation of 0 to size - 1; each key has its own.

    A Feistel network of four rounds permutes the pairs of digits below the next square number; numbers of ``size`` and
    above are permuted again (cycle walking; Black and Rogaway 2002, doi:10.1007/3-540-45760-7_9).
    """
    base = math.isqrt(size - 1) + 1
    place = index
    while True:
        high, low = divmod(place, base)
        for number in range(4):
            high, low = low, (high + int(hash_words(*key, number, low)[0] % np.uint64(base))) % base
        place = high * base + low
        if place < size:
            return place


def _mix(state: np.ndarray) -> np.ndarray:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
