from __future__ import annotations

import numpy as np

from dali_pipes.sampling.counter_rng import hash_words, uniform


def test_hash_is_elementwise_and_sensitive_to_every_word() -> None:
    assert hash_words(3, np.arange(5)).tolist() == [hash_words(3, value)[0] for value in range(5)]
    seen = {int(hash_words(*words)[0]) for words in [(0,), (0, 0), (1,), (0, 1), (1, 0), (2**64 - 1,)]}
    assert len(seen) == 6


def test_integers_are_hashed_as_arrays_of_one_are() -> None:
    for words in [(0,), (7, 2**63 + 5), (2**64 - 1, 1, 2**32), (5, 4, 3, 2**64 - 1)]:
        arrays = [np.array([word], np.uint64) for word in words]
        assert hash_words(*words).tolist() == hash_words(*arrays).tolist() == hash_words(words[0], *arrays[1:]).tolist()


def test_uniform_numbers_are_uniform_and_uncorrelated_between_uses() -> None:
    first, second = uniform(0, 1, np.arange(20000)), uniform(0, 2, np.arange(20000))
    assert first.min() >= 0 and first.max() < 1
    counts = np.histogram(first, bins=20, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 45  # chi square, 19 degrees of freedom, p = 0.001
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
