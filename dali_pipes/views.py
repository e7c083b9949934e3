"""Arithmetic of views that needs neither torch nor DALI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dali_pipes.frame_selection import FrameSelection, select_frames
from dali_pipes.sampling_rules import StudentFrames

if TYPE_CHECKING:
    from dali_pipes.config import DataConfig


def student_frames(num_student_frames: int | None, num_frames: int, selection: FrameSelection = "uniform") -> list[int]:
    """Which of the T frames the student sees of every clip, where they are the same of each. T=8, k=3: 0, 2, 5.

    Raises:
        ValueError: ``random``, which draws them for each clip.
    """
    if selection == "random":
        raise ValueError(
            "views.student.selection = random shows other frames of each clip; expected a selection that shows the "
            "same ones, such as uniform."
        )
    return select_frames(selection, num_student_frames or num_frames, num_frames).tolist()


def student_frames_rule(names: Sequence[str], config: DataConfig) -> StudentFrames:
    """How the student's frames are taken where the views ``names`` are asked for."""
    student = config.views.student
    return StudentFrames(student.num_frames, student.selection, alone=tuple(names) == ("student",))


def num_frames_read(names: Sequence[str], config: DataConfig) -> int:
    """Frames of each clip that are read and decoded: T, or k where only the student's view is asked for."""
    k = config.views.student.num_frames if tuple(names) == ("student",) else None
    return k or config.sampling.num_frames


def check_view_names(views: Sequence[str], config: DataConfig) -> None:
    """Refuse names of views that the config does not have.

    Raises:
        ValueError: no name, a name twice, or an unknown one.
    """
    known = ["student"] if config.views.teacher is None else ["teacher", "student"]
    if not views or len(set(views)) != len(views) or not set(views) <= set(known):
        raise ValueError(f"views: expected some of {known}, each once, found {list(views)}.")


def first_view_size(config: DataConfig) -> tuple[int, int]:
    """(height, width) of the view that the crop is made for: the teacher's, or the only one."""
    return (config.views.teacher or config.views.student).size
