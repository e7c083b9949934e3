"""Which clip, which frames, which crop, which flip: pure functions of the global position.

Note [Position is the only clock]
Training takes the endless concatenation of epoch permutations; step s takes positions [s*G, s*G + G). Nothing
here remembers anything: the same (seed, position, attempt) gives the same clip in any process, after any restart and
for any number of processes. Random numbers are hashes of counters (hashing.py).

An evaluation that shows each of N videos as V views has N * V positions: video * V + view.

Shape letters: T frames of a clip, B clips of a batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dali_pipes.crops import Crop, choose_crop
from dali_pipes.frame_samplers import choose_frames
from dali_pipes.frame_selection import select_frames
from dali_pipes.hashing import hash_words, uniform
from dali_pipes.sampling_rules import SamplingRules

# One number per use, so that no two uses share random numbers.
_ORDER, _SUBSTITUTE, _FRAMES, _CROP, _FLIP, _STUDENT = range(1, 7)


@dataclass(frozen=True)
class ClipPlan:
    """What to show at a position.

    Args:
        row: of the manifest.
        position: in the endless order (training), or video * V + view (evaluation).
        attempt: 0 for the planned clip, k for its k-th substitute.
        frame_index_T: int32 numbers of the frames to read, not decreasing but where a short video is looped. They are
            the clip's, or the student's alone where nobody sees the others.
        valid_T: bool, False for a repetition: the same frame as before, or past the end of a short video.
        student_k: int32, which of ``frame_index_T`` the student sees, rising.
        student_valid_k: bool, as valid_T, among the student's own frames.
        crop: in the upright picture.
        flip: left-right.
    """

    row: int
    position: int
    attempt: int
    frame_index_T: np.ndarray
    valid_T: np.ndarray
    student_k: np.ndarray
    student_valid_k: np.ndarray
    crop: Crop
    flip: bool

    @property
    def substituted(self) -> bool:
        return self.attempt > 0


def epoch_order(seed: int, epoch: int, num_clips: int) -> np.ndarray:
    """int64 permutation of the rows: the order of one epoch. Ties of the hash keep the order of the rows."""
    return np.argsort(hash_words(seed, _ORDER, epoch, np.arange(num_clips)), kind="stable")


def substitute_row(seed: int, position: int, attempt: int, num_clips: int, *, planned_row: int) -> int:
    """The row that stands in at attempt >= 1 of a position: another one at each attempt until all were tried.

    Walks the rows in steps of a hashed length that has no factor in common with their number.
    """
    step = 1 + int(uniform(seed, _SUBSTITUTE, position)[0] * (num_clips - 1))
    while math.gcd(step, num_clips) > 1:
        step += 1
    return (planned_row + attempt * step) % num_clips


def positions_of_batch(
    batch_number: int, rank: int, world_size: int, batch_size: int, global_batch_size: int
) -> np.ndarray:
    """int64 positions (B,) of a rank's training batch.

    A step of G positions is A = G / (W*B) batches a rank; rank r holds A*B positions in a row.
    Example: G=8, W=2, B=2: rank 0 takes 0 1 | 2 3, rank 1 takes 4 5 | 6 7, and then all add 8.

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
    """int64 positions (B,) of a rank's evaluation batch; those past the last view are padding."""
    first = (batch_number * world_size + rank) * batch_size
    return np.arange(first, first + batch_size, dtype=np.int64)


def plan_clip(
    rules: SamplingRules, *, seed: int, position: int, attempt: int, row: int, num_frames: int, height: int, width: int
) -> ClipPlan:
    """Frames, crop and flip of a clip: pure in (seed, position, attempt) and the facts of the video.

    The student sees the same frames, in the same crop, whether other views are asked for or not.

    Args:
        num_frames: of the video.
        height, width: of its upright picture, in pixels.
    """
    clip, place = divmod(position % rules.views.num_views, rules.views.num_crops)
    numbers_T, valid_T = choose_frames(rules, (seed, _FRAMES, position, attempt), num_frames, clip=clip)
    crop = choose_crop(rules, (seed, _CROP, position, attempt), height, width, place=place)
    flip = bool(uniform(seed, _FLIP, position, attempt)[0] < rules.flip_probability)
    student_k, student_valid_k = _student_frames(rules, (seed, _STUDENT, position, attempt), numbers_T, valid_T)
    if rules.student.alone:
        numbers_T, valid_T, student_k = numbers_T[student_k], student_valid_k, np.arange(len(student_k), dtype=np.int32)
    return ClipPlan(row, position, attempt, numbers_T, valid_T, student_k, student_valid_k, crop, flip)


def _student_frames(
    rules: SamplingRules, key: tuple[int, ...], numbers_T: np.ndarray, valid_T: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """``student_k`` and ``student_valid_k`` of a ClipPlan."""
    num_frames = len(numbers_T)
    k = rules.student.num_frames or num_frames
    student_k = select_frames(rules.student.selection, k, num_frames, key=key).astype(np.int32)
    if len(student_k) == num_frames:
        return student_k, valid_T
    # A repetition of a frame that the student was not shown is none to it.
    student_valid_k = np.zeros(k, np.bool_)
    student_valid_k[np.unique(numbers_T[student_k], return_index=True)[1]] = True
    return student_k, student_valid_k
