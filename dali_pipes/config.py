"""Configuration of the input: files, splits, clips, augmentation and views."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from dali_pipes.augmentation_config import AugmentationConfig
from dali_pipes.choices import CacheChoice, ClassSampling, ClipFrameSelection, DecoderChoice, ListFormat, PixelAspect
from dali_pipes.file_names import check_group_pattern, check_pattern
from dali_pipes.sampling_config import MOST_FRAMES, SamplingConfig
from dali_pipes.storage_spec import check_template, check_url, is_shard_pattern
from dali_pipes.strict_config import StrictConfig

_MOST_PROCESSES = 1024


def _square(value: object) -> object:
    return (value, value) if isinstance(value, int) else value


def _process_count(value: object) -> object:
    # One sentence; the members of a union would be named one by one.
    if value == "auto" or (type(value) is int and 1 <= value <= _MOST_PROCESSES):
        return value
    raise ValueError(f"expected a number from 1 to {_MOST_PROCESSES}, or auto, found {str(value)[:200]!r}")


_Pixels = Annotated[int, Field(ge=1, le=8192)]  # 8K video; a side of more fits no network's memory
# (height, width) in pixels; one number means a square.
Size = Annotated[tuple[_Pixels, _Pixels], BeforeValidator(_square)]
ProcessCount = Annotated[int | Literal["auto"], BeforeValidator(_process_count)]


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


class LoaderConfig(StrictConfig):
    """How clips are read. For an undamaged file, only ``decoder`` can change the clips or pixels."""

    num_workers: ProcessCount = Field(
        "auto", description="worker processes per rank, which read and decode; auto: from the cores, and who decodes"
    )
    num_threads: ProcessCount = Field(
        "auto",
        description="DALI's CPU threads per rank; each decodes one clip on the GPU. auto: from cores and decoders",
    )
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


# A regular expression on the name of a video, whose first pair of parentheses finds its group.
GroupPattern = Annotated[str, AfterValidator(check_group_pattern)]


class DataConfig(StrictConfig):
    """Videos on disk: where they are, which are listed, and how clips are cut from them and read."""

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
    test: Path | None = Field(None, description="test list under root, read only by reskd evaluate")
    list_format: ListFormat = Field(
        "auto",
        description="how the lists are read; auto: by what they hold; csv: path,label[,group]; ucf: the folder is the "
        "class; numbers: path and class numbers; frames_numbers: path, number of frames, class numbers; names: path "
        "and class name; kinetics: label,youtube_id,time_start,time_end",
    )
    classes: Path | None = Field(
        None, description="file of class names, one per line in order (or UCF101's classInd.txt); default: sorted names"
    )
    group_pattern: GroupPattern | None = Field(
        None,
        description="regular expression on the path; its first group names the group of videos to keep in one split "
        r"(UCF101: v_(\w+_g\d+)_c, with the class: groups of equal name are one group, whatever the class); a CSV may "
        "have a column 'group' instead; default: every video is its own group",
    )
    val_fraction: float = Field(
        0.1, ge=0, lt=1, description="fraction of the training list to hold out by group to choose best.pt; 0: none"
    )
    val_pattern: Annotated[str, AfterValidator(check_pattern)] | None = Field(
        None,
        description="in place of val_fraction: regular expression on the path; the videos of the training list in "
        "which it is found are the validation split (UCF101: _g(22|23|24|25)_)",
    )
    test_fraction: float = Field(
        0.0, ge=0, lt=1, description="fraction held out by group as the test list if test is not set"
    )
    split_seed: int | None = Field(
        None,
        ge=0,
        lt=2**63,
        description="seed of what the fractions hold out; default: the run's seed. Set it where runs of several seeds "
        "are compared, as a study does, so that all of them train and are tested on the same videos",
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
    class_sampling: ClassSampling = Field(
        "natural",
        description="how often an epoch of the same length reads each training video: natural reads each once; "
        "balanced reads each class equally often, for lists with one label a video",
    )
    sampling: SamplingConfig = Field(SamplingConfig(), description="frames, crop and flip")
    augmentation: AugmentationConfig = Field(
        AugmentationConfig(), description="what else training changes in both views alike: colors, RandAugment, erasing"
    )
    views: ViewsConfig = Field(description="sizes and frames of the networks' inputs")
    loader: LoaderConfig = Field(LoaderConfig(), description="how clips are read")

    def seed_of_split(self, seed: int) -> int:
        """The seed of what is held out by a fraction, in a run of this seed."""
        return seed if self.split_seed is None else self.split_seed

    def seed_decides(self, split: str) -> bool:
        """Whether a seed decides which videos "val" or "test" holds."""
        return (self.test_fraction if split == "test" else self.val_fraction) > 0

    @model_validator(mode="before")
    @classmethod
    def _pattern_replaces_the_fraction(cls, settings: Any) -> Any:
        """With a pattern, the fraction that is not given is 0, and the resolved settings say so."""
        if not isinstance(settings, Mapping) or settings.get("val_pattern") is None:
            return settings
        return {"val_fraction": 0.0, **settings}

    @model_validator(mode="after")
    def _lists_fit_the_storage(self) -> DataConfig:
        if self.test is not None and self.test_fraction > 0:
            raise ValueError("test and test_fraction: expected at most one of them")
        if self.val_pattern is not None and self.val_fraction > 0:
            raise ValueError(
                "val_pattern and val_fraction: expected at most one of them, found val_fraction = "
                f"{self.val_fraction:g} too; leave it out or set it to 0"
            )
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
