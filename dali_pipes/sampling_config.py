"""Settings of the frames, crop and flip of a clip, and of the test views of a video."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dali_pipes.strict_config import StrictConfig

Averaging = Literal["probabilities", "logits"]
# Of a clip or an evaluation; more fit neither a device nor a worker's memory.
MOST_FRAMES = 10_000


class MultiScaleCropConfig(StrictConfig):
    """A crop of the short side times one of ``scales``, at one of 13 fixed positions (TSN, arXiv:1608.00859)."""

    kind: Literal["multi_scale"] = "multi_scale"
    scales: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (1.0, 0.875, 0.75, 0.66), min_length=1, description="ratios of crop side to short side"
    )
    max_scale_steps_apart: int = Field(
        1, ge=0, le=100, description="most steps in scales between width's and height's scale"
    )


class RandomResizedCropConfig(StrictConfig):
    """A crop of random area and aspect ratio (as in torchvision's RandomResizedCrop)."""

    kind: Literal["random_resized"] = "random_resized"
    area: tuple[float, float] = Field((0.08, 1.0), description="share of the frame's area, low and high")
    aspect_ratio: tuple[float, float] = Field((3 / 4, 4 / 3), description="width over height, low and high")

    @model_validator(mode="after")
    def _ordered(self) -> RandomResizedCropConfig:
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise ValueError(f"area: expected 0 < low <= high <= 1, found {self.area}")
        if not 0 < self.aspect_ratio[0] <= self.aspect_ratio[1]:
            raise ValueError(f"aspect_ratio: expected 0 < low <= high, found {self.aspect_ratio}")
        return self


class CenterCropConfig(StrictConfig):
    """The same center crop as in evaluation: no spatial augmentation."""

    kind: Literal["center"] = "center"


class SegmentFramesConfig(StrictConfig):
    """One frame from each of T equal segments of the video (TSN, arXiv:1608.00859)."""

    kind: Literal["segments"] = "segments"
    train: Literal["random", "center"] = Field(
        "random", description="position of each training frame in its segment; random draws each independently"
    )


class UniformFramesConfig(StrictConfig):
    """T evenly spaced frames of the whole video."""

    kind: Literal["uniform"] = "uniform"
    train: Literal["random", "center"] = Field(
        "random", description="position of the first training frame, drawn once per clip; the others follow evenly"
    )


class DenseFramesConfig(StrictConfig):
    """T frames ``stride`` apart (SlowFast, Video Swin): 8 x 8 is num_frames 8, stride 8. Random start in training."""

    kind: Literal["dense"] = "dense"
    stride: int = Field(ge=1, le=1_000_000, description="video frames from one frame of the clip to the next")
    short_video: Literal["repeat_last", "loop"] = Field(
        "repeat_last",
        description="past the end of a video: repeat the last frame taken, or continue from the start (MMAction2)",
    )
    test_starts: Literal["spread", "centers"] = Field(
        "spread",
        description="starts of several test clips: spread from the first possible to the last, both included (TSM, "
        "PySlowFast, MMAction2 1.x), or the centers of equal parts (MMAction2 0.x, under the ResKD paper's code)",
    )


class SamplingConfig(StrictConfig):
    """Frames, crop and flip of a clip, and the test views of a video."""

    num_frames: int = Field(8, ge=1, le=MOST_FRAMES, description="T, number of frames of a clip")
    frames: Annotated[SegmentFramesConfig | UniformFramesConfig | DenseFramesConfig, Field(discriminator="kind")] = (
        Field(SegmentFramesConfig(), description="which T frames of a video")
    )
    crop: Annotated[MultiScaleCropConfig | RandomResizedCropConfig | CenterCropConfig, Field(discriminator="kind")] = (
        Field(MultiScaleCropConfig(), description="the crop in training")
    )
    flip_probability: float = Field(0.5, ge=0, le=1, description="probability of a left-right flip in training")
    test_crop_ratio: float = Field(
        0.875,
        gt=0,
        le=1,
        description="ratio of one center crop to the short side, 224 / 256 in the paper; three crops take all of it",
    )
    test_clips: int = Field(1, ge=1, le=1000, description="clips per video that reskd evaluate reads: 10 for SlowOnly")
    test_crops: Literal[1, 3] = Field(
        1, description="crops of each clip in reskd evaluate: the center, or three along the longer side"
    )
    val_clips: int = Field(1, ge=1, le=1000, description="as test_clips, for validation during training")
    val_crops: Literal[1, 3] = Field(1, description="as test_crops, for validation during training")
    average_views: Averaging = Field(
        "probabilities", description="average softmax scores or logits over a video's clips and crops"
    )
