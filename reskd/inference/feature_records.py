"""Classifies records of features with a trained student. A bad record is reported; the others are still answered.

Shape letters: N videos, T frames, D features of a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from dali_pipes.annotations.file_walk import files_under
from dali_pipes.features.loader import ViewArrays, write_video
from dali_pipes.features.manifest import FeatureManifest
from dali_pipes.features.record_index import RecordIndex, open_index
from dali_pipes.features.source import FeatureSource, VideoFeatures
from dali_pipes.jobs.process_folder import process_folder
from dali_pipes.sampling.order import ReadingOrder
from reskd.inference.answers import Answer, NoAnswer, OnProgress, answering_precision
from reskd.inference.student import TrainedStudent


def answer_records(
    student: TrainedStudent,
    paths: Sequence[str | Path],
    *,
    batch_size: int = 256,
    on_message: Callable[[str], None] = lambda message: None,
    on_progress: OnProgress = lambda noun, done, total: None,
) -> Iterator[RecordAnswer | NoAnswer]:
    """Answer each record once, in order, file by file. Labels are ignored. Nothing is kept on disk.

    Args:
        student: of features; runs on the device of its weights.
        paths: TFRecord files, and folders, whose ``*.tfrecord`` at any depth and through links are read.
        batch_size: videos per forward pass.
        on_progress: gets ("videos", done, total) for each file.
    """
    reader = _Reader(student, batch_size, on_message)
    for path in map(Path, paths):
        files = [path / name for name in files_under(path, _is_record_file, on_message)] if path.is_dir() else [path]
        if not files:
            yield NoAnswer(str(path), "no *.tfrecord in this folder")
        for file in files:
            yield from reader.answers(file, on_progress)


def _is_record_file(path: str) -> bool:
    return path.endswith(".tfrecord")


@dataclass(frozen=True)
class RecordAnswer(Answer):
    """The student's class scores for a record; ``file`` names its file, byte offset and video.

    Args:
        video_id: empty if the record has none.
    """

    video_id: str


class _Reader:
    def __init__(self, student: TrainedStudent, batch_size: int, on_message: Callable[[str], None]) -> None:
        self._student = student
        self._data = student.config.features
        self._batch_size = batch_size
        self._precision = answering_precision(student)
        self._on_message = on_message
        self._logged_cut = False

    def answers(self, file: Path, on_progress: OnProgress) -> Iterator[RecordAnswer | NoAnswer]:
        with TemporaryDirectory(prefix="predict_", dir=process_folder()) as store:
            try:
                index = open_index(file.parent, [file.name], store=Path(store))
            except (ValueError, OSError) as error:
                yield NoAnswer(str(file), str(error))
                return
            for first in range(0, len(index.rows), self._batch_size):
                rows = range(first, min(first + self._batch_size, len(index.rows)))
                yield from self._batch(index, rows)
                on_progress("videos", rows.stop, len(index.rows))
            yield from (NoAnswer(str(file.parent / found.record), found.reason) for found in index.damaged)

    def _batch(self, index: RecordIndex, rows: Sequence[int]) -> list[RecordAnswer | NoAnswer]:
        source = self._source(index)
        found: list[VideoFeatures | str] = []
        for row in rows:
            try:
                found.append(source.read_row(row))
            except (ValueError, OSError) as error:
                found.append(str(error))
        videos = [one for one in found if isinstance(one, VideoFeatures)]
        logits_NK = iter(self._logits(source, videos))
        answers: list[RecordAnswer | NoAnswer] = []
        for row, one in zip(rows, found, strict=True):
            name = str(index.root / index.name(row))
            if isinstance(one, str):
                answers.append(NoAnswer(name, one))
            else:
                logits_K = next(logits_NK)
                answers.append(RecordAnswer(name, logits_K, self._student.score(logits_K), index.video_id(row)))
        return answers

    @torch.no_grad()
    def _logits(self, source: FeatureSource, videos: Sequence[VideoFeatures]) -> torch.Tensor:
        """logits_NK, fp32, on the CPU."""
        if not videos:
            return torch.empty(0)
        size, (num_frames, dim) = len(videos), self._student.shape
        arrays = ViewArrays(
            np.empty((size, num_frames, dim), np.uint8),
            np.zeros((size, num_frames), np.int64),
            np.zeros((size, num_frames), bool),
        )
        view = self._data.views.student
        for location, video in enumerate(videos):
            self._log_cut(source, video)
            k = view.num_frames
            numbers = None if k is None else source.select(view.selection, k, video, video.row)
            write_video(arrays, location, video.groups, numbers)
        data_NTD, valid_NT = (
            torch.from_numpy(array).to(self._student.device) for array in (arrays.data_NTD, arrays.valid_NT)
        )
        with self._precision.autocast():
            return self._student.model(data_NTD, valid_NT).logits_NK.float().cpu()

    def _source(self, index: RecordIndex) -> FeatureSource:
        manifest = FeatureManifest(self._student.class_names, index, np.arange(len(index.rows)), (), 0)
        order = ReadingOrder(mode="eval", batch_size=self._batch_size, seed=self._student.config.seed)
        return FeatureSource(manifest, self._data.groups, self._data.max_frames, order, max_attempts=1)

    def _log_cut(self, source: FeatureSource, video: VideoFeatures) -> None:
        if video.num_beyond and not self._logged_cut:
            self._logged_cut = True
            self._on_message(source.describe_cut(video))
