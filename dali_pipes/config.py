"""What a user may choose about the input: files, splits, clips, augmentation and views."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from dali_pipes.choices import ClipFrameSelection, DecoderChoice
from dali_pipes.storage_spec import check_template, check_url, is_shard_pattern


class StrictConfig(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def _square(value: object) -> object:
    return (value, value) if isinstance(value, int) else value


Averaging = Literal["probabilities", "logits"]
# (height, width) in pixels; one number means a square.
Size = Annotated[tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]], BeforeValidator(_square)]


class ViewConfig(StrictConfig):
    size: Size = Field(description="height and width in pixels; one number for a square")
    antialias: bool = Field(False, description="low-pass filter before shrinking; the paper's code does not")


class StudentViewConfig(ViewConfig):
    source: Literal["teacher_view", "decoded"] = Field(
        "teacher_view",
        description="shrink the teacher's view (the paper) or render from the decoded frame",
    )
    num_frames: int | None = Field(None, ge=1, description="k, how many of the T frames the student sees; default: all")
    selection: ClipFrameSelection = Field(
        "uniform",
        description="which k of the T frames: evenly spread, random (anew each epoch), from the start, the middle or "
        "the end, or k/3 from each",
    )
    upsample_to_teacher: bool = Field(
        False, description="after shrinking, enlarge to the teacher's size again (section 3 of the paper)"
    )


class ViewsConfig(StrictConfig):
    """The views of a clip. Without a teacher's view the student's is rendered from the decoded frame."""

    teacher: ViewConfig | None = Field(None, description="the view that sees everything")
    student: StudentViewConfig = Field(description="the view that sees less")

    @model_validator(mode="after")
    def _student_sees_less(self) -> ViewsConfig:
        if self.teacher is None:
            if self.student.source == "teacher_view":
                raise ValueError(
                    "student.source is teacher_view, but there is no teacher view; "
                    "add views.teacher, or set views.student.source=decoded"
                )
            if self.student.upsample_to_teacher:
                raise ValueError("student.upsample_to_teacher needs views.teacher, whose size it takes")
        elif any(s > t for s, t in zip(self.student.size, self.teacher.size, strict=True)):
            raise ValueError(
                f"the student's view {self.student.size} is larger than the teacher's {self.teacher.size}; "
                "expected height and width at most the teacher's"
            )
        return self


class MultiScaleCropConfig(StrictConfig):
    """A crop of the short side times one of ``scales``, at one of 13 fixed places (TSN, arXiv:1608.00859)."""

    kind: Literal["multi_scale"] = "multi_scale"
    scales: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (1.0, 0.875, 0.75, 0.66), min_length=1, description="crop side over short side"
    )
    max_scale_steps_apart: int = Field(
        1, ge=0, description="width's and height's scales are at most so many places apart"
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
    """One frame from each of T equal stretches of the video (TSN, arXiv:1608.00859)."""

    kind: Literal["segments"] = "segments"
    train: Literal["random", "center"] = Field(
        "random", description="where in its stretch each training frame lies, drawn for each frame by itself"
    )


class UniformFramesConfig(StrictConfig):
    """T frames at equal distances over the whole video."""

    kind: Literal["uniform"] = "uniform"
    train: Literal["random", "center"] = Field(
        "random", description="where the first training frame lies, drawn once a clip; the others follow evenly"
    )


class DenseFramesConfig(StrictConfig):
    """T frames ``stride`` apart (SlowFast, Video Swin): 8 x 8 is num_frames 8, stride 8. Random start in training."""

    kind: Literal["dense"] = "dense"
    stride: int = Field(ge=1, description="frames of the video from one frame of the clip to the next")
    short_video: Literal["repeat_last", "loop"] = Field(
        "repeat_last",
        description="past the end of a video: the last frame reached again, or on from the video's start (MMAction2)",
    )


class SamplingConfig(StrictConfig):
    """Which frames of a video, which part of a frame; how often evaluation shows a video."""

    num_frames: int = Field(8, ge=1, description="T, frames of a clip")
    frames: Annotated[SegmentFramesConfig | UniformFramesConfig | DenseFramesConfig, Field(discriminator="kind")] = (
        Field(SegmentFramesConfig(), description="which T frames of a video")
    )
    crop: Annotated[MultiScaleCropConfig | RandomResizedCropConfig | CenterCropConfig, Field(discriminator="kind")] = (
        Field(MultiScaleCropConfig(), description="the crop in training")
    )
    flip_probability: float = Field(0.5, ge=0, le=1, description="of a left-right flip in training")
    test_crop_ratio: float = Field(
        0.875,
        gt=0,
        le=1,
        description="one center crop's side over the short side, 224 / 256 in the paper; three crops take all of it",
    )
    test_clips: int = Field(1, ge=1, description="stretches of time that evaluate.py shows of a video: 10 for SlowOnly")
    test_crops: Literal[1, 3] = Field(
        1, description="crops that evaluate.py shows of each: the center, or three along the longer side"
    )
    val_clips: int = Field(1, ge=1, description="as test_clips, for the validation during training")
    val_crops: Literal[1, 3] = Field(1, description="as test_crops, for the validation during training")
    average_views: Averaging = Field(
        "probabilities", description="what is averaged over a video's clips and crops: softmax scores or logits"
    )


class LoaderConfig(StrictConfig):
    """How clips are read. For a sound file nothing here but ``decoder`` changes the clips or pixels."""

    num_workers: int = Field(2, ge=1, description="decoding or reading processes a rank")
    num_threads: int = Field(2, ge=1, description="DALI's CPU threads a rank")
    prefetch: int = Field(2, ge=1, description="batches made ahead of use")
    decoder: DecoderChoice = Field(
        "auto",
        description="who decodes: DALI what it decodes right and PyAV the rest (prefer_dali; auto on a GPU), PyAV all "
        "(pyav; auto on a CPU, where it is faster), or DALI all (dali)",
    )
    max_attempts: int = Field(
        8, ge=1, description="clips tried for one position before a run stops; the second and later are substitutes"
    )
    max_bad_fraction: float = Field(
        0.05, ge=0, le=1, description="share of the clips that substitutes may stand in for before a run stops"
    )
    sparse_decode: bool = Field(
        True, description="read and decode only the packets that the wanted frames need, where that is exact"
    )
    hang_seconds: float = Field(
        300, gt=0, description="a worker that is at one clip for longer is killed, and the file is left out"
    )


class VideoFilesConfig(StrictConfig):
    """A file a video."""

    kind: Literal["videos"] = "videos"


class FrameFoldersConfig(StrictConfig):
    """A folder a video, a JPEG file a frame, numbered from 0 or 1 without a gap."""

    kind: Literal["frames"] = "frames"
    template: Annotated[str, AfterValidator(check_template)] = Field(
        "img_{:05d}.jpg", description="name of a frame's file: Python's format of its number"
    )


class ShardsConfig(StrictConfig):
    """Videos in uncompressed tar files, as WebDataset writes them: key.mp4 beside key.cls, key.txt or key.json."""

    kind: Literal["shards"] = "shards"
    url: Annotated[str, AfterValidator(check_url)] | None = Field(
        None,
        description="where the tar files lie, if not under data.root: s3://bucket/folder or any other URL that fsspec "
        "opens (pip install fsspec and s3fs, gcsfs, ...)",
    )


class DataConfig(StrictConfig):
    kind: Literal["clips"] = Field("clips", description="videos that are decoded")
    root: Path = Field(description="folder that the paths in the lists start from")
    storage: Annotated[VideoFilesConfig | FrameFoldersConfig | ShardsConfig, Field(discriminator="kind")] = Field(
        VideoFilesConfig(), description="how the videos are stored: as files, folders of JPEG frames, or tar shards"
    )
    train: Path | Literal["folders"] = Field(
        description="training list under root: CSV with path,label; UCF101 list; or 'folders', one folder a class; of "
        "shards also their names, as train-{000..099}.tar or train-*.tar, with the labels that they hold"
    )
    test: Path | None = Field(None, description="test list under root, read by evaluate.py alone")
    classes: Path | None = Field(
        None, description="file with one class name a line, in order (UCF101's classInd.txt too); default: sorted names"
    )
    group_pattern: str | None = Field(
        None,
        description="regular expression on the path whose first group names videos that must not be split up "
        r"(UCF101: _g(\d+)_); a CSV may have a column 'group' instead; default: every video is its own group",
    )
    val_fraction: float = Field(
        0.1, ge=0, lt=1, description="share of the training list held out by group to choose best.pt; 0: no validation"
    )
    test_fraction: float = Field(
        0.0, ge=0, lt=1, description="share held out by group as the test list where none is given"
    )
    scan_cache: Path | None = Field(
        None, description="folder that keeps what was found out about each file; default: beside the data"
    )
    scan: Literal["decode", "index_only"] = Field(
        "decode",
        description="how files not looked into before are: every frame decoded, or packets counted; the latter is "
        "quick, and what is wrong shows in training",
    )
    sampling: SamplingConfig = Field(SamplingConfig(), description="frames, crop and flip")
    views: ViewsConfig = Field(description="what the networks see")
    loader: LoaderConfig = Field(LoaderConfig(), description="how clips are read")

    @model_validator(mode="after")
    def _one_test_list(self) -> DataConfig:
        if self.test is not None and self.test_fraction > 0:
            raise ValueError("test and test_fraction: expected at most one of them")
        return self

    @model_validator(mode="after")
    def _lists_fit_the_storage(self) -> DataConfig:
        names_shards = any(is_shard_pattern(one) for one in (self.train, self.test) if one is not None)
        if names_shards and self.storage.kind != "shards":
            raise ValueError("train and test name tar files; set storage.kind=shards")
        if self.storage.kind == "shards" and self.train == "folders":
            raise ValueError(
                "train=folders, but the storage is shards; name them, as in train-{000..099}.tar, or a CSV"
            )
        return self

    @model_validator(mode="after")
    def _student_sees_a_subset(self) -> DataConfig:
        k, num_frames = self.views.student.num_frames, self.sampling.num_frames
        if k is not None and k > num_frames:
            raise ValueError(
                f"views.student.num_frames = {k} is more than sampling.num_frames = {num_frames}; "
                "the student sees a subset of the clip's frames"
            )
        selection = self.views.student.selection
        if selection != "uniform" and k is None:
            raise ValueError(f"views.student.selection = {selection} needs views.student.num_frames")
        return self
