"""Which of the teacher's feature frames match each of the student's.

A feature frame covers one or several frames of the clip; its timestamp is their mean. Timestamps are counted in frames
of the clip, so they are known before the first clip.

    clip of T = 8 frames            0  1  2  3  4  5  6  7
    TSN, TSM, SlowOnly              0  1  2  3  4  5  6  7      one feature frame per frame
    the same, seeing k = 4          0     2     4     6         nearest: frames 0, 2, 4, 6 of the teacher, exactly
    Swin, two frames per patch       0.5   2.5   4.5   6.5
    the same, seeing k = 4            1           5             between two of the teacher: interpolate

The teacher's maps are taken at the student's timestamps. In space the student is enlarged to the teacher's grid, as in
equation (1); in time the student would have to predict frames that it has not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from reskd.choices import TimeMatching

Timestamps = tuple[float, ...]


class Timestamp(NamedTuple):
    """A point on the teacher's time axis: feature frame ``before``, and the weight of the next one."""

    before: int
    share_of_next: float


def timestamps_of(frames: Sequence[int], num_feature_frames: int) -> Timestamps:
    """The mean frame number behind each feature frame; all groups have one size.

    Args:
        frames: indices of the frames that the network sees.
        num_feature_frames: T of the output features, ``Recognizer.num_feature_frames(len(frames))``.
    """
    size = len(frames) // num_feature_frames
    assert size * num_feature_frames == len(frames), f"{len(frames)} frames do not make {num_feature_frames} groups"
    return tuple(sum(frames[start : start + size]) / size for start in range(0, len(frames), size))


def match_timestamps(
    matching: TimeMatching, *, student: Timestamps, teacher: Timestamps
) -> tuple[Timestamp, ...] | None:
    """The position of each of the student's feature frames on the teacher's time axis; None for equal timestamps.

    Raises:
        ValueError: they differ, and ``matching`` is "equal".
    """
    if student == teacher:
        return None
    if matching == "equal":
        raise ValueError(
            "loss.time = equal (the default) compares feature maps of equal timestamps: expected the same ones, found "
            f"{len(student)} feature frames of the student ({_shown(student)}) and {len(teacher)} of the teacher "
            f"({_shown(teacher)}), counted in frames of the clip; set loss.time to nearest (exact where the student "
            "sees some of the teacher's frames) or to interpolate, or data.views.student.num_frames to all frames."
        )
    if matching == "nearest":
        return tuple(Timestamp(min(range(len(teacher)), key=lambda i: abs(teacher[i] - time)), 0.0) for time in student)
    return tuple(_between(teacher, time) for time in student)


def at_timestamps(teacher_NTDHW: Tensor, timestamps: Sequence[Timestamp] | None) -> Tensor:
    """The teacher's maps at ``timestamps`` (see match_timestamps), in their order; unchanged for None.

    Channels-last within a frame is kept; only the selected frames are copied.
    """
    if timestamps is None:
        return teacher_NTDHW
    frames_NTHWD = teacher_NTDHW.permute(0, 1, 3, 4, 2)
    picked = [
        frames_NTHWD[:, before].lerp(frames_NTHWD[:, before + 1], share) if share else frames_NTHWD[:, before]
        for before, share in timestamps
    ]
    return torch.stack(picked, 1).permute(0, 1, 4, 2, 3)


def _between(teacher: Timestamps, time: float) -> Timestamp:
    """Clamped to the teacher's first and last timestamp."""
    if time <= teacher[0]:
        return Timestamp(0, 0.0)
    for before, (start, end) in enumerate(pairwise(teacher)):
        if time < end:
            return Timestamp(before, (time - start) / (end - start))
    return Timestamp(len(teacher) - 1, 0.0)


def _shown(timestamps: Timestamps) -> str:
    return ", ".join(f"{time:g}" for time in timestamps[:4]) + (", ..." if len(timestamps) > 4 else "")
