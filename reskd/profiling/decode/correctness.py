"""Checks that a candidate returns the right frames, against a full PyAV decode rendered by torch.

Shape letters: N clips, T frames, M frames of a video, H W pixels, C colors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from dali_pipes.decode.picture_shape import upright
from dali_pipes.decode.pyav import open_video, open_video_stream, output_frames, to_rgb
from dali_pipes.manifest.manifest import ManifestRow
from dali_pipes.sampling.clip_plan import ClipPlan
from reskd.profiling.decode.other_decoders import render_views
from reskd.profiling.decode.workload import Workload

# Decoders and resizers differ by a level or two. A frame counts as wrong if another one fits much better: in a still
# scene its neighbors fit equally well and prove nothing.
_MUCH_BETTER = 0.7
_LEVELS_ASIDE = 0.3
_CHUNK = 64


class Check(NamedTuple):
    """The result of checking some clips of a candidate.

    Args:
        num_frames: frames checked.
        num_wrong: another frame of the video fits much better than the wanted one.
        mean_difference: levels of 255 between the teacher's views and the reference, over all frames.
        worst_difference: that of the worst frame.
        misreported: frames whose number, as the candidate gave it, is not the wanted one.
    """

    num_frames: int
    num_wrong: int
    mean_difference: float
    worst_difference: float
    misreported: int


class Reference:
    """The views of every frame of the clips at positions 0 to N - 1, made once for all candidates."""

    def __init__(self, workload: Workload, num_clips: int) -> None:
        chooser = workload.chooser()
        self._clips = []
        for position in range(num_clips):
            plan = chooser.plan(position, 0)
            self._clips.append((plan, *_views_of_all_frames(chooser.manifest.row(plan.row), plan, workload.sizes)))

    def check(self, teacher_NTHWC: np.ndarray, student_NTHWC: np.ndarray, frame_index_NT: np.ndarray) -> Check:
        """Compare a candidate's first batch; clips beyond the reference are ignored."""
        differences: list[float] = []
        num_wrong = misreported = 0
        for clip, (plan, teacher_THWC, small_MHWC) in enumerate(self._clips):
            misreported += int((frame_index_NT[clip] != plan.frame_index_T).sum())
            for index, wanted in enumerate(plan.frame_index_T.tolist()):
                differences.append(_distance(teacher_NTHWC[clip, index], teacher_THWC[index]))
                distances = [_distance(student_NTHWC[clip, index], frame) for frame in small_MHWC]
                num_wrong += min(distances) < _MUCH_BETTER * distances[wanted] - _LEVELS_ASIDE
        return Check(len(differences), num_wrong, float(np.mean(differences)), max(differences), misreported)


def _views_of_all_frames(
    row: ManifestRow, plan: ClipPlan, sizes: tuple[tuple[int, int], tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """uint8: the teacher's view of the plan's frames (T, H, W, C), and the student's of every frame (M, H, W, C)."""
    found = row.video_info
    with open_video(row.path) as container:
        pictures = [
            upright(to_rgb(frame, width=found.width, height=found.height), found.rotation, mirrored=found.mirrored)
            for frame in output_frames(container, open_video_stream(container, number=found.stream))
        ]
    wanted = plan.frame_index_T.tolist()
    teacher, _ = _render([pictures[number] for number in wanted], plan, sizes)
    small = [_render(pictures[first : first + _CHUNK], plan, sizes)[1] for first in range(0, len(pictures), _CHUNK)]
    return teacher, np.concatenate(small)


def _render(
    pictures: Sequence[np.ndarray], plan: ClipPlan, sizes: tuple[tuple[int, int], tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    teacher, student = render_views(torch.from_numpy(np.stack(pictures)), plan, sizes)
    return teacher.numpy(), student.numpy()


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean())
