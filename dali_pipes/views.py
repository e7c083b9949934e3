"""Arithmetic of views that needs neither torch nor DALI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dali_pipes.config import DataConfig


def student_frames(num_student_frames: int | None, num_frames: int) -> list[int]:
    """Which of the T frames the student sees: k of them, evenly spread, the first included. T=8, k=3: 0, 2, 5."""
    k = num_student_frames or num_frames
    return [index * num_frames // k for index in range(k)]


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
