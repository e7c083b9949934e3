"""What a user may choose about videos that come as features, a vector a frame, in YouTube-8M's frame-level records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from dali_pipes.choices import FrameSelection
from dali_pipes.config import StrictConfig

# Beside records that prepare_data.py extract-features wrote: how they were made.
EXTRACTION_FILE = "features.json"


class FeatureViewConfig(StrictConfig):
    """All frames of a video."""


class StudentFeatureViewConfig(FeatureViewConfig):
    """Some frames of a video, or all."""

    num_frames: int | None = Field(None, ge=1, description="k, how many frames the student sees; default: all")
    selection: FrameSelection = Field(
        "uniform",
        description="which k frames: uniform over the video's own, random (anew each epoch), first, middle, last, "
        "first_middle_last (k/3 each), or every_jth_of_300 of the paper's code, which strides over the padding too",
    )


class FeatureViewsConfig(StrictConfig):
    teacher: FeatureViewConfig | None = Field(None, description="the view that sees everything: {}")
    student: StudentFeatureViewConfig = Field(
        StudentFeatureViewConfig(), description="the view that sees less, and the only one without a teacher"
    )


class FeatureLoaderConfig(StrictConfig):
    """How records are read. Nothing here changes which videos or features come out of sound files."""

    num_threads: int = Field(1, ge=1, description="reading threads a rank")
    prefetch: int = Field(2, ge=1, description="batches made ahead of use")
    max_attempts: int = Field(
        8, ge=1, description="videos tried for one position before a run stops; the second and later are substitutes"
    )
    max_bad_fraction: float = Field(
        0.05, ge=0, le=1, description="share of the videos that substitutes may stand in for before a run stops"
    )


class FeatureDataConfig(StrictConfig):
    kind: Literal["features"] = Field(description="features that were extracted before, in TFRecord files")
    root: Path = Field(description="folder that the patterns start from")
    train: str = Field(min_length=1, description="pattern of the training files under root, as in train*.tfrecord")
    val: str | None = Field(None, min_length=1, description="pattern of the files that choose best.pt")
    val_fraction: float = Field(
        0.0, ge=0, lt=1, description="share of the training videos held out to choose best.pt, where val names no files"
    )
    test: str | None = Field(None, min_length=1, description="pattern of the test files, read by evaluate.py alone")
    classes: Path | None = Field(None, description="file with one class name a line, in order, under root")
    num_classes: int | None = Field(None, ge=1, description="K, where no file names the classes: 4716 in 2017")
    groups: dict[str, Annotated[int, Field(ge=1)]] = Field(
        {"rgb": 1024, "audio": 128},
        min_length=1,
        description="the records' feature lists and the length of a frame's vector in each; others are left unread",
    )
    max_frames: int = Field(300, ge=1, description="T; what a video has beyond is not read")
    views: FeatureViewsConfig = Field(FeatureViewsConfig(), description="what the networks see")
    loader: FeatureLoaderConfig = Field(FeatureLoaderConfig(), description="how records are read")

    @property
    def feature_dim(self) -> int:
        """D, of all groups together."""
        return sum(self.groups.values())

    @model_validator(mode="after")
    def _is_whole(self) -> FeatureDataConfig:
        if (self.classes is None) == (self.num_classes is None):
            raise ValueError("classes and num_classes: expected exactly one of them")
        if self.val is not None and self.val_fraction > 0:
            raise ValueError("val and val_fraction: expected at most one of them")
        k = self.views.student.num_frames
        if k is not None and k > self.max_frames:
            raise ValueError(
                f"views.student.num_frames = {k} is more than max_frames = {self.max_frames}; the student sees a subset"
            )
        if self.views.student.selection != "uniform" and k is None:
            raise ValueError(f"views.student.selection = {self.views.student.selection} needs views.student.num_frames")
        return self
