"""The order of an epoch in which every class comes equally often, whatever the lengths of their lists.

Class-balanced sampling (arXiv:1910.09217, section 3.1, with q = 0): a class is as likely as any other, and its videos
are as likely as each other. Here nothing is left to chance but the order: an epoch of N positions has N // C videos of
each of C classes, and one more of N % C of them, which take turns. A class's videos are drawn as from a shuffled deck
that is shuffled anew when it is empty, and goes on into the next epoch; so each is used equally often, at most one
time more.

Like the plain order, it is a pure function of (seed, epoch).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dali_pipes.choices import ClassSampling
from dali_pipes.sampling.counter_rng import hash_words

# Beside those of order.py and clip_plan.py: no two uses share random numbers.
_DECK, _BALANCED_ORDER = 21, 22


def labels_to_balance(
    class_sampling: ClassSampling, labels_N: np.ndarray, *, has_several_labels: bool
) -> np.ndarray | None:
    """``labels_N`` where classes are to be balanced, else None. Raises ValueError if videos have several labels."""
    if class_sampling == "natural":
        return None
    if has_several_labels:
        raise ValueError(
            "data.class_sampling = balanced: expected one label a video, found videos with several; set it to natural."
        )
    return labels_N


class ClassBalancedOrder:
    """Epochs of N positions with equally many videos of each class.

    Args:
        seed: seed of the run.
        labels: the class of each of the N rows; only classes that occur count.
    """

    def __init__(self, seed: int, labels: Sequence[int] | np.ndarray) -> None:
        labels_N = np.asarray(labels)
        self._seed = seed
        self._num_positions = len(labels_N)
        by_class = np.argsort(labels_N, kind="stable")
        _, starts = np.unique(labels_N[by_class], return_index=True)
        self._rows_of_class = np.split(by_class, starts[1:])

    def epoch(self, epoch: int) -> np.ndarray:
        """int64 (N,): the row at each position of an epoch."""
        rows = np.concatenate([self._drawn(number, epoch) for number in range(len(self._rows_of_class))])
        order = np.argsort(hash_words(self._seed, _BALANCED_ORDER, epoch, np.arange(len(rows))), kind="stable")
        return rows[order]

    def _drawn(self, number: int, epoch: int) -> np.ndarray:
        """The rows of a class in an epoch, in the order of its deck."""
        rows = self._rows_of_class[number]
        first, end = (self._num_drawn(number, epochs) for epochs in (epoch, epoch + 1))
        decks = [self._shuffled(number, deck) for deck in range(first // len(rows), -(-end // len(rows)))]
        start = first % len(rows)
        return np.concatenate([*decks, rows[:0]])[start : start + end - first]

    def _num_drawn(self, number: int, num_epochs: int) -> int:
        """How many videos of a class the first epochs have: the surplus of each goes to the next classes in turn."""
        num_classes = len(self._rows_of_class)
        of_each, surplus = divmod(self._num_positions, num_classes)
        num_turns = num_epochs * surplus
        return num_epochs * of_each + (num_turns - number + num_classes - 1) // num_classes

    def _shuffled(self, number: int, deck: int) -> np.ndarray:
        rows = self._rows_of_class[number]
        return rows[np.argsort(hash_words(self._seed, _DECK, number, deck, np.arange(len(rows))), kind="stable")]
