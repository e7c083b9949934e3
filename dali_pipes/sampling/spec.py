"""SamplingConfig as plain values: how clips are taken from videos, in training or in evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from dali_pipes.choices import FrameSelection
from dali_pipes.sampling.student_frames import select_frames

if TYPE_CHECKING:
    from dali_pipes.config import SamplingConfig
if TYPE_CHECKING:
    from dali_pipes.config import DataConfig


class TestViews(NamedTuple):
    """How often evaluation shows a video: each of ``num_temporal_clips`` clips as each of ``num_crops`` crops.

    View v of the V = num_temporal_clips * num_crops shows clip v // num_crops, crop v % num_crops.
    """

    num_temporal_clips: int = 1
    num_crops: Literal[1, 3] = 1

    @property
    def num_test_views(self) -> int:
        return self.num_temporal_clips * self.num_crops


ONE_TEST_VIEW = TestViews()


class StudentFrames(NamedTuple):
    """Which of a clip's T frames the student sees.

    Args:
        num_frames: k; None: all.
        alone: no other view is asked for, so that the clip's other frames are not even decoded.
    """

    num_frames: int | None = None
    selection: FrameSelection = "uniform"
    alone: bool = False


ALL_FRAMES = StudentFrames()


@dataclass(frozen=True)
class SamplingRules:
    """SamplingConfig and the shape of the view, as plain values that travel to workers without pydantic.

    ``view_aspect`` is width over height of the view; crops have it too, so that nothing is stretched (multi-scale and
    random resized crops: up to their random factor). In training ``views`` is one clip, one crop.
    """

    num_frames: int
    frame_kind: Literal["segments", "uniform", "dense"]
    random_frames: bool
    crop_kind: Literal["multi_scale", "random_resized", "center", "three"]
    view_aspect: float
    center_ratio: float
    flip_probability: float
    test_views: TestViews = ONE_TEST_VIEW
    student: StudentFrames = ALL_FRAMES
    stride: int = 1
    short_video: Literal["repeat_last", "loop"] = "repeat_last"
    scales: tuple[float, ...] = (1.0,)
    max_scale_steps_apart: int = 0
    area: tuple[float, float] = (1.0, 1.0)
    aspect_ratio: tuple[float, float] = (1.0, 1.0)


def rules_from_config(
    config: SamplingConfig,
    *,
    view_size: tuple[int, int],
    mode: Literal["train", "eval"],
    test_views: TestViews = ONE_TEST_VIEW,
    student: StudentFrames = ALL_FRAMES,
) -> SamplingRules:
    """The rules of training (random frames, config.crop, flips) or evaluation (the ``test_views``'s views, no flip).

    ``view_size`` is (height, width) of the first view rendered, the teacher's where there is one.
    """
    height, width = view_size
    rules = SamplingRules(
        num_frames=config.num_frames,
        frame_kind=config.frames.kind,
        random_frames=False,
        crop_kind="center" if test_views.num_crops == 1 else "three",
        view_aspect=width / height,
        center_ratio=config.test_crop_ratio,
        flip_probability=0.0,
        test_views=test_views,
        student=student,
        **config.frames.model_dump(exclude={"kind", "train"}),
    )
    if mode == "eval":
        return rules
    return replace(
        rules,
        random_frames=config.frames.kind == "dense" or config.frames.train == "random",
        crop_kind=config.crop.kind,
        flip_probability=config.flip_probability,
        test_views=ONE_TEST_VIEW,
        **config.crop.model_dump(exclude={"kind"}),
    )


def rules_for_views(
    config: DataConfig, views: Sequence[str], *, mode: Literal["train", "eval"], test_views: TestViews = ONE_TEST_VIEW
) -> SamplingRules:
    """The rules of a loader whose batches hold these views.

    Raises:
        ValueError: no name, a name twice, or one that the config does not have.
    """
    check_view_names(views, has_teacher=config.views.teacher is not None)
    size, student = first_view_size(config), student_frames_rule(views, config)
    return rules_from_config(config.sampling, view_size=size, mode=mode, test_views=test_views, student=student)


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


def check_view_names(views: Sequence[str], *, has_teacher: bool) -> None:
    """Refuse names of views that the config does not have.

    Args:
        has_teacher: whether the config has a teacher's view; it always has a student's.

    Raises:
        ValueError: no name, a name twice, or an unknown one.
    """
    known = ["teacher", "student"] if has_teacher else ["student"]
    if not views or len(set(views)) != len(views) or not set(views) <= set(known):
        raise ValueError(f"views: expected some of {known}, each once, found {list(views)}.")


def first_view_size(config: DataConfig) -> tuple[int, int]:
    """(height, width) of the view that the crop is made for: the teacher's, or the only one."""
    return (config.views.teacher or config.views.student).size
