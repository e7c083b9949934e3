"""Stateless random numbers: hashes of counters.

The hash is splitmix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195). It is written out here because
numpy's generators do not guarantee the same stream across versions.
"""

from __future__ import annotations

import math

import numpy as np

_GAMMA = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MODULUS_MASK = 2**64 - 1


def hash_words(*words: int | np.ndarray) -> np.ndarray:
    """Hash a tuple of non-negative integers to uint64; arrays broadcast and give an array of hashes.

    Integers before the first array are hashed as Python's, which is several times faster than arrays of one.
    """
    state: int | np.ndarray = 0
    with np.errstate(over="ignore"):  # arithmetic is modulo 2**64
        for word in words:
            if isinstance(state, int) and isinstance(word, int):
                state = _mix(state + _GAMMA + _mix(word + _GAMMA))
            else:
                mixed = _mix_array(_as_array(word) + np.uint64(_GAMMA))
                state = _mix_array(_as_array(state) + np.uint64(_GAMMA) + mixed)
    return _as_array(state)


def _as_array(words: int | np.ndarray) -> np.ndarray:
    """As uint64; an integer is an array of one."""
    return np.array([words], np.uint64) if isinstance(words, int) else np.asarray(words).astype(np.uint64)


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


def _mix(state: int) -> int:
    state &= _MODULUS_MASK
    state = (state ^ (state >> 30)) * _FIRST & _MODULUS_MASK
    state = (state ^ (state >> 27)) * _SECOND & _MODULUS_MASK
    return state ^ (state >> 31)


def _mix_array(state: np.ndarray) -> np.ndarray:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(_FIRST)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(_SECOND)
    return state ^ (state >> np.uint64(31))
