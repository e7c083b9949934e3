"""Stateless random numbers: hashes of counters.

The hash is splitmix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195). It is written out here because
numpy's generators do not guarantee the same stream across versions.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_GAMMA = 0x9E3779B97F4A7C15
_LARGEST = 2**64 - 1


def hash_words(*words: int | np.ndarray) -> np.ndarray:
    """Hash a tuple of non-negative integers to uint64; arrays broadcast and give an array of hashes.

    Integers before the first array are hashed as Python's, which is several times faster than arrays of one.
    """
    state: int | np.ndarray = 0
    with np.errstate(over="ignore"):  # arithmetic is modulo 2**64
        for word in words:
            word = word if isinstance(word, int) else np.atleast_1d(word).astype(np.uint64)
            state = _mix(_modulo(state + _GAMMA) + _mix(word + _GAMMA))
    return np.array([state], np.uint64) if isinstance(state, int) else state


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
            high, low = low, (high + int(hash_words(*key, number, low)[0]) % base) % base
        place = high * base + low
        if place < size:
            return place


def _mix(state: Any) -> Any:
    """``state``: an int, or an array of uint64."""
    state = _modulo(state)
    state = _modulo((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9)
    state = _modulo((state ^ (state >> 27)) * 0x94D049BB133111EB)
    return state ^ (state >> 31)


def _modulo(state: Any) -> Any:
    """Modulo 2**64, as arrays are by themselves."""
    return state & _LARGEST if isinstance(state, int) else state
