"""Whose frames are compared with whose."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from dali_pipes.sampling.spec import student_frames
from reskd.choices import TimeMatching
from reskd.losses.temporal_alignment import Timestamp, at_timestamps, match_timestamps, timestamps_of


def _whole(num_frames: int, *, patch: int = 1) -> tuple[float, ...]:
    return timestamps_of(range(num_frames), num_frames // patch)


def _seen(k: int, num_frames: int, *, patch: int = 1) -> tuple[float, ...]:
    return timestamps_of(student_frames(k, num_frames), k // patch)


@pytest.mark.parametrize(
    ("frames", "num_features", "expected"),
    [
        (range(4), 4, (0, 1, 2, 3)),
        (range(8), 4, (0.5, 2.5, 4.5, 6.5)),
        ((0, 2, 4, 6), 2, (1, 5)),
        ((0, 2, 5), 3, (0, 2, 5)),
        (range(1), 1, (0,)),
    ],
)
def test_the_moment_of_a_feature_frame_is_the_mean_of_its_frames(
    frames: Sequence[int], num_features: int, expected: tuple[float, ...]
) -> None:
    assert timestamps_of(frames, num_features) == expected


@pytest.mark.parametrize("matching", ["equal", "nearest", "interpolate"])
def test_equal_moments_are_left_as_they_are(matching: TimeMatching) -> None:
    assert match_timestamps(matching, student=_whole(8, patch=2), teacher=_whole(8, patch=2)) is None
    maps = torch.randn(2, 3, 4, 2, 2)
    assert at_timestamps(maps, None) is maps


@pytest.mark.parametrize("matching", ["nearest", "interpolate"])
@pytest.mark.parametrize(("k", "num_frames"), [(4, 8), (3, 8), (5, 16), (1, 4), (7, 8)])
def test_a_student_that_sees_k_frames_is_compared_with_the_same_frames(
    matching: TimeMatching, k: int, num_frames: int
) -> None:
    found = match_timestamps(matching, student=_seen(k, num_frames), teacher=_whole(num_frames))
    assert found == tuple(Timestamp(frame, 0.0) for frame in student_frames(k, num_frames))


def test_swin_seeing_half_of_the_frames_lies_between_two_of_the_teachers() -> None:
    student, teacher = _seen(4, 8, patch=2), _whole(8, patch=2)
    assert (student, teacher) == ((1, 5), (0.5, 2.5, 4.5, 6.5))
    assert match_timestamps("nearest", student=student, teacher=teacher) == (Timestamp(0, 0), Timestamp(2, 0))
    assert match_timestamps("interpolate", student=student, teacher=teacher) == (Timestamp(0, 0.25), Timestamp(2, 0.25))


def test_a_student_of_another_family_may_have_more_feature_frames_than_its_teacher() -> None:
    student, teacher = _whole(4), _whole(4, patch=2)
    assert match_timestamps("nearest", student=student, teacher=teacher) == tuple(Timestamp(i, 0) for i in (0, 0, 1, 1))
    expected = (Timestamp(0, 0), Timestamp(0, 0.25), Timestamp(0, 0.75), Timestamp(1, 0))  # the ends are held
    assert match_timestamps("interpolate", student=student, teacher=teacher) == expected


def test_equally_many_feature_frames_of_other_moments_are_not_equal() -> None:
    """A TSN that sees every second frame beside a Swin of all frames: as many, but half a frame apart."""
    student, teacher = _seen(4, 8), _whole(8, patch=2)
    assert len(student) == len(teacher)
    with pytest.raises(
        ValueError, match=r"4 feature frames of the student \(0, 2, 4, 6\) and 4 .*\(0.5, 2.5, 4.5, 6.5\)"
    ):
        match_timestamps("equal", student=student, teacher=teacher)


def test_unequal_moments_are_shown_with_what_to_do() -> None:
    message = (
        r"^loss.time = equal .*found 4 .*\(0, 2, 4, 6\) and 8 of the teacher \(0, 1, 2, 3, \.\.\.\)"
        r".*set loss.time to nearest .*or to interpolate, or data.views.student.num_frames to all frames\.$"
    )
    with pytest.raises(ValueError, match=message):
        match_timestamps("equal", student=_seen(4, 8), teacher=_whole(8))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_maps_are_picked_and_mixed_in_the_layout_they_have(dtype: torch.dtype) -> None:
    maps = torch.randn((6, 4, 3, 2), generator=torch.Generator().manual_seed(0)).to(dtype)
    maps_NTDHW = maps.to(memory_format=torch.channels_last).unflatten(0, (2, 3))
    found = at_timestamps(maps_NTDHW, (Timestamp(2, 0.0), Timestamp(0, 0.25)))
    assert found.dtype == dtype
    assert found.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found[:, 0], maps_NTDHW[:, 2])
    exact = 0.75 * maps_NTDHW[:, 0].double() + 0.25 * maps_NTDHW[:, 1].double()
    torch.testing.assert_close(found[:, 1], exact.to(dtype))
