"""Configuration of the input: files, splits, clips, augmentation and views."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from dali_pipes.choices import CacheChoice, ClipFrameSelection, DecoderChoice, ListFormat, PixelAspect
from dali_pipes.storage_spec import check_template, check_url, is_shard_pattern
from dali_pipes.strict_config import StrictConfig


def _square(value: object) -> object:
    return (value, value) if isinstance(value, int) else value


Averaging = Literal["probabilities", "logits"]
# Of a clip or an evaluation; more fit neither a device nor a worker's memory.
MOST_FRAMES = 10_000
_Pixels = Annotated[int, Field(ge=1, le=8192)]  # 8K video; a side of more fits no network's memory
# (height, width) in pixels; one number means a square.
Size = Annotated[tuple[_Pixels, _Pixels], BeforeValidator(_square)]


class ViewConfig(StrictConfig):
    size: Size = Field(description="height and width in pixels; one number for a square")
    antialias: bool = Field(False, description="low-pass filter before shrinking; the paper's code has none")


class StudentViewConfig(ViewConfig):
    source: Literal["teacher_view", "decoded"] = Field(
        "teacher_view",
        description="shrink the teacher's view (the paper) or render from the decoded frame",
    )
    num_frames: int | None = Field(
        None, ge=1, le=MOST_FRAMES, description="k, number of frames that the student sees; default: all T"
    )
    selection: ClipFrameSelection = Field(
        "uniform",
        description="which k of the T frames: evenly spread, random (new in each epoch), from the start, the middle or "
        "the end, or k/3 from each",
    )
    upsample_to_teacher: bool = Field(
        False, description="after shrinking, enlarge back to the teacher's size (section 3 of the paper)"
    )


class ViewsConfig(StrictConfig):
    """The views of a clip. Without a teacher's view, the student's is rendered from the decoded frame."""

    teacher: ViewConfig | None = Field(None, description="the teacher's view: full input")
    student: StudentViewConfig = Field(description="the student's view: reduced input")

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
    test_clips: int = Field(1, ge=1, le=1000, description="clips per video that evaluate.py reads: 10 for SlowOnly")
    test_crops: Literal[1, 3] = Field(
        1, description="crops of each clip in evaluate.py: the center, or three along the longer side"
    )
    val_clips: int = Field(1, ge=1, le=1000, description="as test_clips, for validation during training")
    val_crops: Literal[1, 3] = Field(1, description="as test_crops, for validation during training")
    average_views: Averaging = Field(
        "probabilities", description="average softmax scores or logits over a video's clips and crops"
    )


class LoaderConfig(StrictConfig):
    """How clips are read. For an undamaged file, only ``decoder`` can change the clips or pixels."""

    num_workers: int = Field(2, ge=1, le=1024, description="worker processes per rank, which read and decode")
    num_threads: int = Field(2, ge=1, le=1024, description="DALI's CPU threads per rank")
    prefetch: int = Field(2, ge=1, le=64, description="number of batches prefetched")
    decoder: DecoderChoice = Field(
        "auto",
        description="prefer_dali (auto on a GPU): DALI decodes the files that it decodes correctly, PyAV the others; "
        "pyav (auto on a CPU, where it is faster): PyAV decodes all; dali: DALI decodes all",
    )
    max_bad_fraction: float = Field(
        0.05, ge=0, le=1, description="largest fraction of clips that may be substituted before the run stops"
    )
    sparse_decode: bool = Field(
        True, description="read and decode only the packets that the wanted frames need, if that is exact"
    )
    hang_seconds: float = Field(
        300, gt=0, le=1e6, description="a worker that reads one clip for longer is killed, and the file is skipped"
    )


class VideoFilesConfig(StrictConfig):
    """One file per video."""

    kind: Literal["videos"] = "videos"


class FrameFoldersConfig(StrictConfig):
    """One folder per video with one JPEG file per frame, numbered from 0 or 1 without gaps."""

    kind: Literal["frames"] = "frames"
    template: Annotated[str, AfterValidator(check_template)] = Field(
        "img_{:05d}.jpg", description="file name of a frame: Python format of its number"
    )


class ShardsConfig(StrictConfig):
    """Videos in uncompressed tar files, as WebDataset writes them: key.mp4 beside key.cls, key.txt or key.json."""

    kind: Literal["shards"] = "shards"
    url: Annotated[str, AfterValidator(check_url)] | None = Field(
        None,
        description="URL of the tar files, if not under data.root: s3://bucket/folder or any other that fsspec opens "
        "(pip install fsspec and s3fs, gcsfs, ...)",
    )


def _check_pattern(pattern: str) -> str:
    try:
        num_groups = re.compile(pattern).groups
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"expected a regular expression, found {pattern[:200]!r}: {error}") from None
    if num_groups == 0:
        raise ValueError(f"expected a pair of parentheses around the group, found {pattern[:200]!r}")
    return pattern


class DataConfig(StrictConfig):
    kind: Literal["clips"] = Field("clips", description="clips decoded from videos")
    root: Path = Field(description="folder that the paths in the lists are relative to")
    storage: Annotated[VideoFilesConfig | FrameFoldersConfig | ShardsConfig, Field(discriminator="kind")] = Field(
        VideoFilesConfig(), description="how the videos are stored: as files, folders of JPEG frames, or tar shards"
    )
    train: Path | Literal["folders"] = Field(
        description="training list under root: CSV with path,label; a list of UCF101, mmaction2, TSN, PySlowFast or "
        "Kinetics; or 'folders', one per class; for shards also their names, as train-{000..099}.tar or train-*.tar, "
        "whose labels are used"
    )
    test: Path | None = Field(None, description="test list under root, read only by evaluate.py")
    list_format: ListFormat = Field(
        "auto",
        description="how the lists are read; auto: by what they hold; csv: path,label[,group]; ucf: the folder is the "
        "class; numbers: path and class numbers; frames_numbers: path, number of frames, class numbers; names: path "
        "and class name; kinetics: label,youtube_id,time_start,time_end",
    )
    classes: Path | None = Field(
        None, description="file of class names, one per line in order (or UCF101's classInd.txt); default: sorted names"
    )
    group_pattern: Annotated[str, AfterValidator(_check_pattern)] | None = Field(
        None,
        description="regular expression on the path; its first group names the group of videos to keep in one split "
        r"(UCF101: v_(\w+_g\d+)_c, with the class: groups of equal name are one group, whatever the class); a CSV may "
        "have a column 'group' instead; default: every video is its own group",
    )
    val_fraction: float = Field(
        0.1, ge=0, lt=1, description="fraction of the training list to hold out by group to choose best.pt; 0: none"
    )
    test_fraction: float = Field(
        0.0, ge=0, lt=1, description="fraction held out by group as the test list if test is not set"
    )
    allow_shared_videos: bool = Field(
        False, description="allow videos of the test list that are also in the training list, by path or by content"
    )
    scan_cache: Path | None = Field(None, description="folder of the scan's results; default: beside the data")
    cache: CacheChoice = Field(
        "none",
        description="keep decoded frames, 1.5 or 3 bytes a pixel: on disk, for later runs too, or in each rank's "
        "shared memory, until it ends. Pixels are the same; PyAV decodes",
    )
    cache_folder: Path | None = Field(None, description="folder of cache=disk; default: beside the scan's results")
    scan: Literal["decode", "index_only"] = Field(
        "decode",
        description="how new files are scanned: decode every frame, or only count packets; the latter is "
        "quick, but faults appear only in training",
    )
    pixel_aspect: PixelAspect = Field(
        "display",
        description="the shape of a picture that crops keep: as players show it (the file's pixel aspect), or as its "
        "pixels are stored, as if they were square",
    )
    sampling: SamplingConfig = Field(SamplingConfig(), description="frames, crop and flip")
    views: ViewsConfig = Field(description="sizes and frames of the networks' inputs")
    loader: LoaderConfig = Field(LoaderConfig(), description="how clips are read")

    @model_validator(mode="after")
    def _lists_fit_the_storage(self) -> DataConfig:
        if self.test is not None and self.test_fraction > 0:
            raise ValueError("test and test_fraction: expected at most one of them")
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

    @model_validator(mode="after")
    def _cache_is_decoded_by_pyav(self) -> DataConfig:
        if self.cache != "none" and self.loader.decoder in ("dali", "prefer_dali"):
            found = f"expected loader.decoder = pyav, found {self.loader.decoder}"
            raise ValueError(f"cache = {self.cache} keeps frames that PyAV decodes; {found}")
        if self.cache_folder is not None and self.cache != "disk":
            raise ValueError(f"cache_folder is the folder of cache = disk, but cache is {self.cache}")
        return self
