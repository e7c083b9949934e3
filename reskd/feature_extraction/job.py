"""Turns videos into YouTube-8M's record files of frame features: processes decode, one network runs, and each file is
written when it is complete."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dali_pipes.annotations.lists import LabeledVideo
from dali_pipes.atomic_files import atomic_write_text
from dali_pipes.config import DataConfig
from dali_pipes.features.config import EXTRACTION_FILE, read_settings
from dali_pipes.features.quantization import quantize_scaled
from dali_pipes.features.sequence_example import encode_video
from dali_pipes.features.tfrecord import RecordWriter
from dali_pipes.file_names import printable
from dali_pipes.jobs.map_files import Engine
from dali_pipes.loader.whole_video import TimedFrames, TimedReader
from dali_pipes.manifest.manifest import ManifestRow
from dali_pipes.manifest.sources import locations_of, storage_of, store_of
from dali_pipes.manifest.splits import videos_of_splits
from dali_pipes.scan.scan import scan
from dali_pipes.storage_spec import Storage, split_path
from dali_pipes.video_info import VideoInfo
from reskd.feature_extraction.network import FrameNetwork
from reskd.feature_extraction.record_files import Outcome, RecordFile, plan_files, write_outcomes

OnProgress = Callable[[str, int, int], None]
GROUP = "rgb"


@dataclass(frozen=True)
class Sampling:
    """How frames are sampled and stored.

    Args:
        fps: frames per second.
        max_frames: limit per video.
        videos_per_file: listed videos per record file.
        folder_fps: frame rate of folders of JPEG files; None: they are refused.
    """

    fps: float = 1.0
    max_frames: int = 300
    videos_per_file: int = 100
    folder_fps: float | None = None

    def __post_init__(self) -> None:
        if not (0 < self.fps < float("inf")) or (self.folder_fps is not None and not self.folder_fps > 0):
            raise ValueError(f"frames per second: expected more than 0, found {self.fps:g} and {self.folder_fps}.")


@dataclass(frozen=True)
class VideoLists:
    """The videos of ``data`` by split: listed, or held out of the training list."""

    data: DataConfig
    class_names: tuple[str, ...]
    videos: Mapping[str, Sequence[LabeledVideo]]

    @classmethod
    def read(
        cls, data: DataConfig, *, seed: int, on_message: Callable[[str], None] = lambda message: None
    ) -> VideoLists:
        """
        Args:
            seed: chooses the held-out videos.

        Raises:
            ValueError: lists that cannot be read.
        """
        splits = ("train", "val", *(("test",) if data.test or data.test_fraction else ()))
        return cls(data, *videos_of_splits(data, seed, splits, on_message))


@dataclass(frozen=True)
class Job:
    """All record files and how they are made; ``own`` are this shard's. ``plan`` makes it."""

    folder: Path
    data: DataConfig
    class_names: tuple[str, ...]
    files: tuple[RecordFile, ...]
    own: tuple[RecordFile, ...]
    network: FrameNetwork
    sampling: Sampling

    @property
    def todo(self) -> list[RecordFile]:
        """This shard's files that are not written yet."""
        return [file for file in self.own if not file.is_done(self.folder)]


def plan(
    lists: VideoLists, folder: Path, network: FrameNetwork, sampling: Sampling, *, shard: tuple[int, int] = (1, 1)
) -> Job:
    """Plan the files to write; make ``folder`` and record the settings there.

    Args:
        shard: (i, n): every n-th file from the i-th on.

    Raises:
        ValueError: ``folder`` holds features of other settings, or other files.
    """
    files = plan_files(lists.videos, videos_per_file=sampling.videos_per_file)
    _claim(folder, _settings(lists, network, sampling))
    own = tuple(files[shard[0] - 1 :: shard[1]])
    return Job(folder, lists.data, lists.class_names, tuple(files), own, network, sampling)


def _settings(lists: VideoLists, network: FrameNetwork, sampling: Sampling) -> dict[str, Any]:
    videos = {split: [(video.path, video.labels) for video in found] for split, found in lists.videos.items()}
    listed = json.dumps([lists.class_names, videos])
    return {
        "schema_version": 1,
        **network.about,
        "feature": "mean over space of the last map of a frame",
        "groups": {GROUP: network.model.feature_dim},
        "scaling": "each frame's vector times 2 / its largest absolute value",
        "dequantize": "q * 4 / 255 + 4 / 512 - 2",
        "frames_a_second": sampling.fps,
        "folder_frames_a_second": sampling.folder_fps,
        "max_frames": sampling.max_frames,
        "videos_per_file": sampling.videos_per_file,
        "lists_sha256": hashlib.sha256(listed.encode()).hexdigest(),
    }


def _claim(folder: Path, settings: Mapping[str, Any]) -> None:
    path = folder / EXTRACTION_FILE
    if not path.exists():
        if folder.is_file() or (folder.exists() and any(folder.iterdir())):
            raise ValueError(f"expected an empty folder or one with {EXTRACTION_FILE}, found {folder}; choose another.")
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write_text(path, json.dumps({"settings": settings}, indent=2) + "\n")
        return
    found = read_settings(path)
    plain = json.loads(json.dumps(settings))
    # The weights' path may change: their hash identifies them.
    differing = [key for key in plain | found if key != "origin" and plain.get(key) != found.get(key)]
    if differing:
        key = differing[0]
        raise ValueError(
            f"{folder} holds features of other settings ({key} was {found.get(key)!r}, now it is {plain.get(key)!r}); "
            "give the same settings to resume, or another folder."
        )


def run(
    job: Job,
    *,
    engine: Engine,
    decode: bool = True,
    on_progress: OnProgress = lambda noun, done, total: None,
) -> None:
    """Write the shard's missing files.

    Args:
        engine: runs the decoding.
        decode: scan new files by decoding every frame; else by counting packets.
        on_progress: gets (noun, done, total).

    Raises:
        ValueError: videos are missing; the network's features are not finite.
        OSError: the folder cannot be written.
    """
    todo = job.todo
    videos = [(file, video) for file in todo for video in file.videos]
    video_info = _scan(job, [video.path for _, video in videos], engine, decode, on_progress)
    network, sampling = job.network, job.sampling
    reader = TimedReader(sampling.fps, sampling.max_frames, network.rules, network.render, sampling.folder_fps)
    rows = [
        _Item(file.split, file.number, location, _row(job.data, video, video_info[video.path]))
        for file in todo
        for location, video in enumerate(file.videos)
    ]
    open_files = {(file.split, file.number): _OpenFile(file, job) for file in todo}
    on_progress("videos", 0, len(rows))
    for done, (item, found) in enumerate(_read_all(reader, rows, engine), start=1):
        key = (item.split, item.number)
        open_files[key].add(item.location, found, item.row.video_info.health)
        if open_files[key].is_whole:
            open_files.pop(key).write()
        on_progress("videos", done, len(rows))


@dataclass(frozen=True)
class _Item:
    """A video and its index (``location``) in a file to write."""

    split: str
    number: int
    location: int
    row: ManifestRow


@dataclass(frozen=True)
class _ReadItem:
    reader: TimedReader

    def __call__(self, item: _Item) -> TimedFrames:
        return self.reader.read(item.row)


def _read_all(reader: TimedReader, items: Sequence[_Item], engine: Engine) -> Iterator[tuple[_Item, TimedFrames]]:
    """Every video once, bad ones first: they are not opened."""
    for item in items:
        if not item.row.video_info.usable:
            yield item, TimedFrames.bad(item.row.video_info.health.removeprefix("bad: "))
    usable = [item for item in items if item.row.video_info.usable]
    for item, found in engine(_ReadItem(reader), usable):
        yield item, found or TimedFrames.bad("the decoder's process died")


class _OpenFile:
    """A record file whose videos come in any order."""

    def __init__(self, file: RecordFile, job: Job) -> None:
        self._file, self._job = file, job
        self._outcomes: list[Outcome | None] = [None] * len(file.videos)
        self._records: list[bytes] = [b""] * len(file.videos)

    @property
    def is_whole(self) -> bool:
        return None not in self._outcomes

    def add(self, location: int, found: TimedFrames, health: str) -> None:
        video = self._file.videos[location]
        if found.error:
            self._outcomes[location] = Outcome(video.path, 0, 0.0, 0.0, found.error)
            return
        data_TD, error_T = quantize_scaled(self._job.network.features(found.frames_THWC))
        self._records[location] = encode_video(
            video_id=printable(video.path), labels=sorted(video.labels), groups={GROUP: data_TD}
        )
        errors = round(float(error_T.mean()), 6), round(float(error_T.max()), 6)
        self._outcomes[location] = Outcome(video.path, len(data_TD), *errors, "" if health == "ok" else health)

    def write(self) -> None:
        """Write the records, if there are any, then the outcomes."""
        outcomes = [outcome for outcome in self._outcomes if outcome is not None]
        if any(outcome.num_frames for outcome in outcomes):
            with RecordWriter(self._file.records(self._job.folder)) as writer:
                for record in filter(None, self._records):
                    writer.write(record)
        write_outcomes(self._file.outcomes(self._job.folder), outcomes)


def _scan(
    job: Job, paths: Sequence[str], engine: Engine, decode: bool, on_progress: OnProgress
) -> dict[str, VideoInfo]:
    return scan(
        locations_of(job.data, paths),
        root=job.data.root,
        store=store_of(job.data),
        engine=engine,
        decode=decode,
        on_progress=lambda done, total, _: on_progress("files scanned", done, total),
    )


def _row(data: DataConfig, video: LabeledVideo, video_info: VideoInfo) -> ManifestRow:
    storage: Storage = storage_of(data)
    shard = storage.shard_file(data.root, split_path(video.path)[0]) if storage.kind == "shards" else ""
    return ManifestRow(data.root / video.path, video.label, video_info, storage.template, shard)
