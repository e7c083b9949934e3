from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dali_pipes.config import DataConfig
from dali_pipes.sampling.spec import StudentFrames, num_frames_read, student_frames, student_frames_rule


def make_config(**student: Any) -> DataConfig:
    views = {"teacher": {"size": 64}, "student": {"size": 32, **student}}
    return DataConfig.model_validate({"root": ".", "train": "folders", "sampling": {"num_frames": 8}, "views": views})


def test_uniform_frames_are_evenly_spread_from_the_first_on() -> None:
    assert student_frames(None, 8) == list(range(8))
    assert student_frames(3, 8) == [0, 2, 5] and student_frames(1, 16) == [0]


def test_frames_that_differ_from_clip_to_clip_are_not_named() -> None:
    with pytest.raises(ValueError, match="selection = random chooses different frames in each clip"):
        student_frames(3, 8, "random")


def test_only_where_the_student_is_asked_for_alone_are_its_frames_read_alone() -> None:
    config = make_config(num_frames=3, selection="last")
    assert student_frames_rule(("student",), config) == StudentFrames(3, "last", alone=True)
    assert not student_frames_rule(("teacher", "student"), config).alone
    assert [num_frames_read(names, config) for names in (("student",), ("student", "teacher"), ("teacher",))] == [
        3,
        8,
        8,
    ]
    assert num_frames_read(("student",), make_config()) == 8


def test_a_selection_needs_a_number_of_frames() -> None:
    with pytest.raises(ValidationError, match=r"views.student.selection = last needs views.student.num_frames"):
        make_config(selection="last")
