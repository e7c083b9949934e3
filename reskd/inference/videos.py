"""Classifies any video files with a trained student, in one decode or through the loader of evaluation.

Shape letters: V views (clips x crops) of a video, T frames, H W heights and widths, C = 3 colors, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from dali_pipes.annotations.lists import LabeledVideo
from dali_pipes.batch import PADDING_POSITION
from dali_pipes.config import DataConfig, VideoFilesConfig
from dali_pipes.fault_log import LoaderLog
from dali_pipes.jobs.process_folder import process_folder
from dali_pipes.loader.clip_loader import ClipLoader
from dali_pipes.loader.recovery import reason_of
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.sampling.order import ReadingOrder
from dali_pipes.scan.scan import scan
from dali_pipes.video_info import VideoInfo
from reskd.evaluation.multi_view import average_views
from reskd.experiment.data import data_of
from reskd.inference.answers import (
    DEFAULT_SETTINGS,
    NoAnswer,
    OnProgress,
    VideoAnswer,
    VideoSettings,
    answering_precision,
)
from reskd.inference.given_files import GivenVideos
from reskd.inference.one_pass import answer_in_one_pass, views_rule
from reskd.inference.student import TrainedStudent


def answer_videos(
    student: TrainedStudent,
    paths: Sequence[str | Path],
    settings: VideoSettings = DEFAULT_SETTINGS,
    *,
    on_message: Callable[[str], None] = lambda message: None,
    on_progress: OnProgress = lambda noun, done, total: None,
) -> Iterator[VideoAnswer | NoAnswer]:
    """Answer each file once: first what is no file, then the files in order. Nothing is kept on disk.

    With ``scan`` "decode" each file is decoded once, for its scan and its views together, unless OpenCV does not
    support the student's resize (antialiasing), or the views of a video are large. Then, and with "index_only", the
    files are scanned first, those that the scan finds bad are named, and the loader of evaluation reads the others.

    Args:
        student: runs on the device of its weights.
        paths: files, and folders, which are searched as for training.
        on_message: called with a sentence on what is left out of a folder, and for each damaged video.
        on_progress: gets (noun, done, total).
    """
    given = GivenVideos.of(paths, on_message)
    if student.config.clips.views.student.selection == "random":
        on_message(
            "the student takes its frames at random: these answers are of one draw, which is another than evaluation's"
        )
        settings = replace(settings, scan="decode")  # there the draw depends on no other video
    yield from (NoAnswer(file, reason) for file, reason in given.missing)
    rule = views_rule(student, settings)
    if rule is None:
        yield from _answer_scanned(student, given, settings, on_message, on_progress)
    else:
        yield from answer_in_one_pass(
            student, given.files, rule, batch_size=settings.batch_size, on_message=on_message, on_progress=on_progress
        )


def _answer_scanned(
    student: TrainedStudent,
    given: GivenVideos,
    settings: VideoSettings,
    on_message: Callable[[str], None],
    on_progress: OnProgress,
) -> Iterator[VideoAnswer | NoAnswer]:
    """Scan all files, and then read the good ones."""
    on_progress("files", 0, len(given.files))
    with TemporaryDirectory(prefix="predict_", dir=process_folder()) as store:
        video_info = scan(
            given.files,
            root=Path.cwd(),
            store=Path(store),
            decode=settings.scan == "decode",
            on_progress=lambda done, total, _: on_progress("files", done, total),
        )
        good: dict[str, VideoInfo] = {}
        for file in given.files:
            found = video_info[file]
            if not found.usable:
                yield NoAnswer(file, found.health.removeprefix("bad: "))
                continue
            if found.health != "ok":
                on_message(f"{file}: {found.health}")
            good[file] = found
        if good:
            yield from _Reader(student, good, settings, on_message).answers(on_progress)


def _data_config(config: DataConfig) -> DataConfig:
    """The config for plain video files. A bad file is reported and does not stop the others."""
    loader = config.loader.model_copy(
        update={
            "max_bad_fraction": 1.0,
            "decoder": "prefer_dali" if config.loader.decoder == "dali" else config.loader.decoder,
        }
    )
    return config.model_copy(update={"storage": VideoFilesConfig(), "loader": loader})


class _Reader:
    """One pass over good files."""

    def __init__(
        self,
        student: TrainedStudent,
        files: dict[str, VideoInfo],
        settings: VideoSettings,
        on_message: Callable[[str], None],
    ) -> None:
        self._student = student
        self._files = list(files)
        self._test_views = settings.test_views or data_of(student.config).test_views("test")
        self._precision = answering_precision(student)
        videos = [LabeledVideo(file, (0,), file) for file in files]
        self._loader = ClipLoader(
            Manifest.from_video_info(Path.cwd(), student.class_names, videos, files),
            _data_config(student.config.clips),
            order=ReadingOrder(
                mode="eval",
                batch_size=min(settings.batch_size, len(files) * self._test_views.num_test_views),
                test_views=self._test_views,
            ),
            views=("student",),
            device=student.device,
            log=LoaderLog(on_message=on_message),
        )

    def answers(self, on_progress: OnProgress) -> Iterator[VideoAnswer | NoAnswer]:
        num_test_views, number = self._test_views.num_test_views, 0
        logits: list[Tensor | None] = []
        frames_THWC = torch.empty(0)
        on_progress("videos", 0, len(self._files))
        try:
            for logits_K, view_THWC in self._views():
                if len(logits) == num_test_views // 2:
                    frames_THWC = view_THWC
                logits.append(logits_K)
                if len(logits) == num_test_views:
                    yield self._answer(self._files[number], logits, frames_THWC)
                    number, logits = number + 1, []
                    on_progress("videos", number, len(self._files))
        except _ReadingError as error:
            yield from (
                NoAnswer(file, self._loader.faults.reasons.get(file, str(error))) for file in self._files[number:]
            )
        finally:
            self._loader.close()

    @torch.no_grad()
    def _views(self) -> Iterator[tuple[Tensor | None, Tensor]]:
        """(logits_K, frames_THWC) of every view of every video, in order; the logits of a substituted clip are None."""
        batches = iter(self._loader)
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except RuntimeError as error:
                raise _ReadingError(reason_of(error)) from error
            view = batch.views["student"]
            frames_NTHWC = view.data
            with self._precision.autocast():
                logits_NK = self._student.model(frames_NTHWC, view.valid_NT).logits_NK.float().cpu()
            substituted_N = batch.substituted_N.tolist()
            for index, position in enumerate(batch.positions_N.tolist()):
                if position != PADDING_POSITION:
                    yield (None if substituted_N[index] else logits_NK[index]), frames_NTHWC[index].cpu()

    def _answer(self, file: str, logits: Sequence[Tensor | None], frames_THWC: Tensor) -> VideoAnswer | NoAnswer:
        known = [logits_K for logits_K in logits if logits_K is not None]
        if len(known) < len(logits):  # averaging fewer views would be another protocol
            return NoAnswer(file, self._loader.faults.reasons.get(file, "it could not be read"))
        averaging = data_of(self._student.config).averaging
        logits_K = average_views(torch.stack(known)[None], averaging, self._student.scores)[0]
        return VideoAnswer(file, logits_K, self._student.score(logits_K), frames_THWC)


class _ReadingError(Exception):
    """The loader cannot go on; errors of the student's forward pass are not wrapped."""
