"""Map global positions to videos, and a rank's batches to positions.

Note [Position is the only clock]
Training reads the endless concatenation of epoch permutations; step s takes positions [s*G, s*G + G). Nothing here has
state: the same (seed, position, attempt) gives the same clip in any process, after any restart and for any number of
processes. Random numbers are hashes of counters (counter_rng.py).

An evaluation of N videos with V test views each has N * V positions: video * V + view.

Shape letter: B clips of a batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dali_pipes.choices import ClassSampling
from dali_pipes.sampling.class_order import ClassBalancedOrder
from dali_pipes.sampling.counter_rng import hash_words, permuted
from dali_pipes.sampling.spec import ONE_TEST_VIEW, TestViews

# One number per use, so that no two uses share random numbers; clip_plan.py has the next ones.
_ORDER, _SUBSTITUTE = 1, 2
_CHANCE_EXPONENT = -12  # base 10; a chance that we neglect


@dataclass(frozen=True, kw_only=True)
class ReadingOrder:
    """The positions of a rank's batches, in training or in evaluation; see ``positions_of_batch``.

    Args:
        mode: "train" shuffles and augments, without end; "eval" goes through the list once, without randomness.
        batch_size: B, clips of a batch on this rank.
        seed: seed of order, frames, crop and flip.
        global_batch_size: G, clips of a training step over all ranks and accumulated batches; None: world_size * B.
        rank: of this process.
        world_size: number of ranks.
        first_batch: number of this rank's first training batch, for a resumed run.
        test_views: clips and crops of each video in "eval"; features have one view.
        class_sampling: of "train": each video once an epoch, or each class equally often (class_order.py).
    """

    mode: Literal["train", "eval"]
    batch_size: int
    seed: int = 0
    global_batch_size: int | None = None
    rank: int = 0
    world_size: int = 1
    first_batch: int = 0
    test_views: TestViews = ONE_TEST_VIEW
    class_sampling: ClassSampling = "natural"

    @property
    def clips_per_step(self) -> int:
        """G."""
        return self.world_size * self.batch_size if self.global_batch_size is None else self.global_batch_size

    def check(self, num_clips: int) -> None:
        """Check that the sizes fit together.

        Raises:
            ValueError: a size below 1, a rank outside the world, or a global batch size that ranks cannot share evenly.
        """
        sizes = {"num_clips": num_clips, "batch_size": self.batch_size, "world_size": self.world_size}
        for name, value in sizes.items():
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, found {value}.")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank: expected 0 to {self.world_size - 1}, found {self.rank}.")
        if self.mode == "train":
            positions_of_batch(self.first_batch, self.rank, self.world_size, self.batch_size, self.clips_per_step)

    def num_batches(self, num_positions: int) -> int:
        """Number of batches of an evaluation pass, the same on every rank."""
        return -(-num_positions // (self.world_size * self.batch_size))

    def position(self, iteration: int, index: int, num_positions: int) -> int:
        """Position of the clip at ``index`` of the rank's batch. Evaluation repeats the same pass without end."""
        if self.mode == "eval":
            batch_number = iteration % self.num_batches(num_positions)
            return int(evaluation_positions_of_batch(batch_number, self.rank, self.world_size, self.batch_size)[index])
        batch_number = self.first_batch + iteration
        positions_B = positions_of_batch(batch_number, self.rank, self.world_size, self.batch_size, self.clips_per_step)
        return int(positions_B[index])


class EpochOrders:
    """The row at each index of an epoch. Keeps only the orders of the last two epochs; for one thread.

    Args:
        labels: the class of each row, for an order in which every class comes equally often; None: each row once.
    """

    def __init__(self, seed: int, num_clips: int, *, labels: np.ndarray | None = None) -> None:
        self._seed = seed
        self._num_clips = num_clips
        self._balanced = None if labels is None else ClassBalancedOrder(seed, labels)
        self._orders: dict[int, np.ndarray] = {}

    def row(self, epoch: int, index: int) -> int:
        if epoch not in self._orders:
            while len(self._orders) >= 2:  # a batch and the prefetched ones may span two epochs
                del self._orders[min(self._orders)]
            self._orders[epoch] = self._order(epoch)
        return int(self._orders[epoch][index])

    def _order(self, epoch: int) -> np.ndarray:
        if self._balanced is not None:
            return self._balanced.epoch(epoch)
        return epoch_order(self._seed, epoch, self._num_clips)


def epoch_order(seed: int, epoch: int, num_clips: int) -> np.ndarray:
    """Return the order of one epoch: int64 permutation of the rows. Ties of the hash keep the order of the rows."""
    return np.argsort(hash_words(seed, _ORDER, epoch, np.arange(num_clips)), kind="stable")


def most_attempts(max_bad_fraction: float, num_clips: int) -> int:
    """Number of clips to try for one position; if none is readable, too many are bad.

    If at most ``max_bad_fraction`` of the clips are bad, that many random ones are all bad with a probability of at
    most 1e-12. Fractions below 0.65 count as 0.65, which gives 65 clips, and those above 0.97 as 0.97: 908 clips.
    """
    fraction = min(max(max_bad_fraction, 0.65), 0.97)
    return min(num_clips, math.ceil(_CHANCE_EXPONENT / math.log10(fraction)))


def substitute_row(seed: int, position: int, attempt: int, num_clips: int, *, planned_row: int) -> int:
    """The substitute at attempt >= 1 of a position: a different row at each attempt until all were tried.

    The attempts of a position go through a random permutation of the other rows, so neighbors of a bad clip, which may
    be bad for the same reason, are tried no sooner than other clips.
    """
    num_others = num_clips - 1
    if num_others == 0:
        return planned_row
    other = permuted((attempt - 1) % num_others, num_others, (seed, _SUBSTITUTE, position))
    return other + (other >= planned_row)


def positions_of_batch(
    batch_number: int, rank: int, world_size: int, batch_size: int, global_batch_size: int
) -> np.ndarray:
    """Return the int64 positions (B,) of a rank's training batch.

    A step of G positions is A = G / (W*B) batches per rank; each rank holds A*B consecutive positions.
    Example: G=8, W=2, B=2: rank 0 takes 0 1 | 2 3, rank 1 takes 4 5 | 6 7; the next step adds 8.

    Raises:
        ValueError: G is not a multiple of W*B.
    """
    clips_at_once = world_size * batch_size
    if global_batch_size < 1 or global_batch_size % clips_at_once:
        raise ValueError(
            f"global_batch_size: expected a multiple of world size {world_size} times batch size {batch_size} = "
            f"{clips_at_once}, found {global_batch_size}."
        )
    num_micro_batches = global_batch_size // clips_at_once
    step, micro_batch = divmod(batch_number, num_micro_batches)
    first = step * global_batch_size + (rank * num_micro_batches + micro_batch) * batch_size
    return np.arange(first, first + batch_size, dtype=np.int64)


def evaluation_positions_of_batch(batch_number: int, rank: int, world_size: int, batch_size: int) -> np.ndarray:
    """Return the int64 positions (B,) of a rank's evaluation batch; those past the last view are padding."""
    first = (batch_number * world_size + rank) * batch_size
    return np.arange(first, first + batch_size, dtype=np.int64)
