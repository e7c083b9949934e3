"""Configuration of videos given as features, one vector per frame, in YouTube-8M's frame-level records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from dali_pipes.choices import ClassSampling, FrameSelection
from dali_pipes.config import StrictConfig
from dali_pipes.json_files import read_json
from dali_pipes.sampling_config import MOST_FRAMES

# The file beside records of reskd prepare extract-features that describes how they were made.
EXTRACTION_FILE = "features.json"


def read_settings(path: Path) -> dict[str, Any]:
    """The settings in an extraction's ``EXTRACTION_FILE``; raises ValueError if it is damaged."""
    advice = "extract the features again into another folder"
    return dict(read_json(path, "the settings of an extraction", keys=("settings",), advice=advice)["settings"])


class FeatureViewConfig(StrictConfig):
    """All frames of a video."""


class StudentFeatureViewConfig(FeatureViewConfig):
    """Some frames of a video, or all."""

    num_frames: int | None = Field(
        None, ge=1, le=MOST_FRAMES, description="k, number of frames that the student sees; default: all"
    )
    selection: FrameSelection = Field(
        "uniform",
        description="which k frames: uniform over the video's own, random (new in each epoch), first, middle, last, "
        "first_middle_last (k/3 each), or every_jth_of_300 of the paper's code, which strides over the padding too",
    )


class FeatureViewsConfig(StrictConfig):
    teacher: FeatureViewConfig | None = Field(None, description="the teacher's view, always all frames: {}")
    student: StudentFeatureViewConfig = Field(
        StudentFeatureViewConfig(), description="the student's view, the only one if there is no teacher"
    )


class FeatureLoaderConfig(StrictConfig):
    """How records are read. For undamaged files, nothing here changes the videos or features."""

    num_threads: int = Field(1, ge=1, le=1024, description="reading threads per rank")
    prefetch: int = Field(2, ge=1, le=64, description="number of batches prefetched")
    max_bad_fraction: float = Field(
        0.05, ge=0, le=1, description="largest fraction of videos that may be substituted before the run stops"
    )


class FeatureDataConfig(StrictConfig):
    kind: Literal["features"] = Field(description="precomputed features in TFRecord files")
    root: Path = Field(description="folder that the patterns are relative to")
    train: str = Field(min_length=1, description="pattern of the training files under root, such as train*.tfrecord")
    val: str | None = Field(None, min_length=1, description="pattern of the files used to choose best.pt")
    val_fraction: float = Field(
        0.0, ge=0, lt=1, description="fraction of the training videos held out to choose best.pt, if val is not set"
    )
    split_seed: int | None = Field(
        None,
        ge=0,
        lt=2**63,
        description="seed of what val_fraction holds out; default: the run's seed. Set it where runs of several seeds "
        "are compared, as a study does, so that all of them train on the same videos",
    )
    test: str | None = Field(None, min_length=1, description="pattern of the test files, read only by reskd evaluate")
    classes: Path | None = Field(None, description="file under root with one class name per line, in order")
    num_classes: int | None = Field(None, ge=1, le=10_000_000, description="K, if classes is not set: 4716 in 2017")
    groups: dict[str, Annotated[int, Field(ge=1, le=1_000_000)]] = Field(
        {"rgb": 1024, "audio": 128},
        min_length=1,
        description="the records' feature lists and the length of a frame's vector in each; others are not read",
    )
    max_frames: int = Field(300, ge=1, le=MOST_FRAMES, description="T; a video's later frames are not read")
    class_sampling: ClassSampling = Field(
        "natural",
        description="how often an epoch of the same length reads each training video: natural reads each once; "
        "balanced reads each class equally often, for lists with one label a video",
    )
    views: FeatureViewsConfig = Field(FeatureViewsConfig(), description="frames of the networks' inputs")
    loader: FeatureLoaderConfig = Field(FeatureLoaderConfig(), description="how records are read")

    @property
    def feature_dim(self) -> int:
        """D, the total length of all groups."""
        return sum(self.groups.values())

    def seed_of_split(self, seed: int) -> int:
        """The seed of what is held out by a fraction, in a run of this seed."""
        return seed if self.split_seed is None else self.split_seed

    def seed_decides(self, split: str) -> bool:
        """Whether a seed decides which videos "val" or "test" holds."""
        return split == "val" and self.val_fraction > 0

    @model_validator(mode="before")
    @classmethod
    def _has_no_pixels(cls, settings: Any) -> Any:
        if isinstance(settings, Mapping) and "augmentation" in settings:
            raise ValueError("augmentation changes pixels, and features have none; leave it out")
        return settings

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
