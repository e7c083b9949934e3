"""SamplingConfig as plain values: how clips are sampled from videos, in training or in evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from dali_pipes.choices import FrameSelection, PixelAspect
from dali_pipes.sampling.student_frames import select_frames

if TYPE_CHECKING:
    from dali_pipes.config import DataConfig
    from dali_pipes.sampling_config import SamplingConfig


class TestViews(NamedTuple):
    """The test views of a video: ``num_crops`` crops of each of ``num_temporal_clips`` clips.

    View v of the V = num_temporal_clips * num_crops is clip v // num_crops, crop v % num_crops.
    """

    num_temporal_clips: int = 1
    num_crops: Literal[1, 3] = 1

    @property
    def num_test_views(self) -> int:
        return self.num_temporal_clips * self.num_crops


ONE_TEST_VIEW = TestViews()


class StudentFrames(NamedTuple):
    """How the student's frames are chosen from a clip's T frames.

    Args:
        num_frames: k; None: all.
        alone: no other view is requested, so the clip's other frames are not decoded.
    """

    num_frames: int | None = None
    selection: FrameSelection = "uniform"
    alone: bool = False


ALL_FRAMES = StudentFrames()


@dataclass(frozen=True)
class SamplingRules:
    """SamplingConfig and the view's aspect ratio, as plain values that workers can unpickle without pydantic.

    ``view_aspect`` is width over height of the view. Crops have the same ratio, so nothing is distorted (multi-scale
    and random resized crops: up to their random factor). ``pixel_aspect`` says whether that is meant as a player shows
    the video or as its pixels are stored. In training ``test_views`` is one clip, one crop.
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
    test_starts: Literal["spread", "centers"] = "spread"
    scales: tuple[float, ...] = (1.0,)
    max_scale_steps_apart: int = 0
    area: tuple[float, float] = (1.0, 1.0)
    aspect_ratio: tuple[float, float] = (1.0, 1.0)
    pixel_aspect: PixelAspect = "display"


def rules_from_config(
    config: SamplingConfig,
    *,
    view_size: tuple[int, int],
    mode: Literal["train", "eval"],
    test_views: TestViews = ONE_TEST_VIEW,
    student: StudentFrames = ALL_FRAMES,
) -> SamplingRules:
    """Make the rules of training (random frames, config.crop, flips) or evaluation (``test_views``, no flip).

    ``view_size`` is (height, width) of the first view rendered, the teacher's if there is one.
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
    """Make the rules of a loader whose batches hold these views.

    Raises:
        ValueError: no name, a repeated name, or a view that the config does not have.
    """
    check_view_names(views, has_teacher=config.views.teacher is not None)
    size, student = first_view_size(config), student_frames_rule(views, config)
    rules = rules_from_config(config.sampling, view_size=size, mode=mode, test_views=test_views, student=student)
    return replace(rules, pixel_aspect=config.pixel_aspect)


def student_frames(num_student_frames: int | None, num_frames: int, selection: FrameSelection = "uniform") -> list[int]:
    """Indices of the student's frames among the T of a clip, the same for every clip. T=8, k=3: 0, 2, 5.

    Raises:
        ValueError: the selection is ``random``, which differs from clip to clip.
    """
    if selection == "random":
        raise ValueError(
            "views.student.selection = random chooses different frames in each clip; expected a selection that chooses "
            "the same ones, such as uniform."
        )
    return select_frames(selection, num_student_frames or num_frames, num_frames).tolist()


def student_frames_rule(names: Sequence[str], config: DataConfig) -> StudentFrames:
    """How the student's frames are chosen if the views ``names`` are requested."""
    student = config.views.student
    return StudentFrames(student.num_frames, student.selection, alone=tuple(names) == ("student",))


def num_frames_read(names: Sequence[str], config: DataConfig) -> int:
    """Number of frames decoded per clip: T, or k if only the student's view is requested."""
    k = config.views.student.num_frames if tuple(names) == ("student",) else None
    return k or config.sampling.num_frames


def check_view_names(views: Sequence[str], *, has_teacher: bool) -> None:
    """Check the names of views against the config.

    Args:
        has_teacher: whether the config has a teacher's view; it always has a student's.

    Raises:
        ValueError: no name, a repeated name, or an unknown one.
    """
    known = ["teacher", "student"] if has_teacher else ["student"]
    if not views or len(set(views)) != len(views) or not set(views) <= set(known):
        raise ValueError(f"views: expected some of {known}, each once, found {list(views)}.")


def first_view_size(config: DataConfig) -> tuple[int, int]:
    """(height, width) of the view whose aspect ratio the crop takes: the teacher's, or the only one."""
    return (config.views.teacher or config.views.student).size
