"""Plan a clip: its frames, crop and flip, as pure functions of the global position.

See Note [Position is the only clock] in order.py. Shape letter: T frames of a clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dali_pipes.sampling.counter_rng import uniform
from dali_pipes.sampling.crops import Crop, choose_crop
from dali_pipes.sampling.frame_samplers import choose_frames
from dali_pipes.sampling.spec import SamplingRules
from dali_pipes.sampling.student_frames import select_frames

# One number per use, so that no two uses share random numbers; order.py has 1 and 2.
_FRAMES, _CROP, _FLIP, _STUDENT = range(3, 7)


@dataclass(frozen=True)
class ClipPlan:
    """The clip of one position.

    Args:
        row: row of the manifest.
        position: in the endless order (training), or video * V + view (evaluation).
        attempt: 0 for the planned clip, k for its k-th substitute.
        frame_index_T: int32 indices of the frames to read, non-decreasing unless a short video is looped: all frames
            of the clip, or only the student's if no other view is requested.
        valid_T: bool, False for a repeat: the same frame as before, or past the end of a short video.
        student_k: int32 indices into ``frame_index_T`` of the student's frames, increasing.
        student_valid_k: bool, as valid_T, among the student's own frames.
        crop: crop of the upright picture.
        flip: whether to flip left-right.
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


class VideoShape(NamedTuple):
    """Number of frames of a video; height and width of its upright picture in pixels; width over height of a pixel."""

    num_frames: int
    height: int
    width: int
    pixel_aspect: float = 1.0


def plan_clip(rules: SamplingRules, video: VideoShape, *, seed: int, position: int, attempt: int, row: int) -> ClipPlan:
    """Plan the frames, crop and flip of a clip: a pure function of (seed, position, attempt) and the video's shape.

    The student gets the same frames and crop whether or not other views are requested.
    """
    clip, index = divmod(position % rules.test_views.num_test_views, rules.test_views.num_crops)
    numbers_T, valid_T = choose_frames(rules, (seed, _FRAMES, position, attempt), video.num_frames, clip=clip)
    key = (seed, _CROP, position, attempt)
    crop = choose_crop(rules, key, video.height, video.width, index=index, pixel_aspect=video.pixel_aspect)
    flip = bool(uniform(seed, _FLIP, position, attempt)[0] < rules.flip_probability)
    student_k, student_valid_k = _student_frames(rules, (seed, _STUDENT, position, attempt), numbers_T, valid_T)
    if rules.student.alone:
        numbers_T, valid_T, student_k = numbers_T[student_k], student_valid_k, np.arange(len(student_k), dtype=np.int32)
    return ClipPlan(row, position, attempt, numbers_T, valid_T, student_k, student_valid_k, crop, flip)


def _student_frames(
    rules: SamplingRules, key: tuple[int, ...], numbers_T: np.ndarray, valid_T: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``student_k`` and ``student_valid_k`` of a ClipPlan."""
    num_frames = len(numbers_T)
    k = rules.student.num_frames or num_frames
    student_k = select_frames(rules.student.selection, k, num_frames, key=key).astype(np.int32)
    if len(student_k) == num_frames:
        return student_k, valid_T
    # Repeats count only among the student's own frames.
    student_valid_k = np.zeros(k, np.bool_)
    student_valid_k[np.unique(numbers_T[student_k], return_index=True)[1]] = True
    return student_k, student_valid_k
