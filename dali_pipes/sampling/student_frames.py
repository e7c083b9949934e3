"""Select the student's frames: k of a video's n."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dali_pipes.choices import FrameSelection
from dali_pipes.sampling.counter_rng import hash_words

# YouTube-8M keeps at most this many frames, and its usual readers pad every video to it with zeros.
_PADDED_FRAMES = 300


def select_frames(selection: FrameSelection, k: int, num_frames: int, *, key: Sequence[int] = ()) -> np.ndarray:
    """Select min(k, n) frames of a video of n: int64, increasing indices without repeats.

    ``uniform`` takes i * n // k, as for pixels. ``first_middle_last`` takes a third of k from each end and the rest
    around the middle; a remainder of two gives one more to each end. These are the baselines of Bhardwaj et al., CVPR
    2019. ``every_jth_of_300`` follows the paper's released code (train.py, line 264), which strides from frame 0 over
    the 300 frames that a video is padded to and takes the first n * k // 300 of them for a video's own: a short video
    keeps fewer frames than it has. One of fewer than 300 / k frames keeps its first; the released code keeps none.

    Args:
        key: non-negative integers, the only thing that ``random`` depends on.

    Raises:
        ValueError: k below 1, n below 0 or an unknown name.
    """
    if k < 1 or num_frames < 0:
        raise ValueError(
            f"expected k of at least 1 and a number of frames of at least 0, found {k = }, {num_frames = }."
        )
    if selection == "every_jth_of_300":
        return _every_jth_of_300(k, num_frames)
    if selection == "random":
        return np.sort(np.argsort(hash_words(*key, np.arange(num_frames)), kind="stable")[:k])
    if selection not in _RULES:
        known = ["random", "every_jth_of_300", *_RULES]
        raise ValueError(f"selection: expected one of {', '.join(known)}, found {selection!r}.")
    return np.arange(num_frames) if k >= num_frames else _RULES[selection](k, num_frames)


def _every_jth_of_300(k: int, n: int) -> np.ndarray:
    padded = np.arange(0, _PADDED_FRAMES, max(1, _PADDED_FRAMES // k))[: max(1, n * k // _PADDED_FRAMES)]
    return padded[padded < n]


def _first_middle_last(k: int, n: int) -> np.ndarray:
    end = k // 3 + (k % 3 == 2)
    middle = k - 2 * end
    start = (n - middle) // 2  # at least ``end`` from either end, as k < n
    return np.concatenate([np.arange(end), np.arange(start, start + middle), np.arange(n - end, n)])


# Only for k < n.
_RULES: dict[str, Callable[[int, int], np.ndarray]] = {
    "uniform": lambda k, n: np.arange(k) * n // k,
    "first": lambda k, n: np.arange(k),
    "middle": lambda k, n: np.arange((n - k) // 2, (n - k) // 2 + k),
    "last": lambda k, n: np.arange(n - k, n),
    "first_middle_last": _first_middle_last,
}
