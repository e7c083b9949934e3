"""``load_student``: a trained student that answers for files and tensors.

Shape letters: N clips, T frames, H W heights and widths, D features of a frame, K classes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from dali_pipes.sampling.spec import TestViews
from reskd.choices import DeviceChoice
from reskd.distributed import choose_device
from reskd.inference.answers import Answer, NoAnswer, OnProgress, VideoSettings, answering_precision
from reskd.inference.student import TrainedStudent, load_trained_student
from reskd.inference.videos import answer_videos

if TYPE_CHECKING:
    from reskd.experiment.config import ExperimentConfig
    from reskd.models.recognizer import Recognizer

log = logging.getLogger(__name__)


def load_student(
    checkpoint: Path | str, device: DeviceChoice = "auto", *, trust_code: bool = False, temperature: float = 1.0
) -> Student:
    """Load ``last.pt`` or ``best.pt`` of a run; no other file is needed, and no code in it is run.

    Args:
        device: "cpu", "cuda", or "auto": the GPU if there is one.
        trust_code: whether the Python code that the checkpoint names for the student may be executed (family python).
            Code that it names for anything else, as for the teacher, is executed in no case.
        temperature: divides the logits before they become scores, so that these say how often they are right; reskd
            evaluate --split val prints the best one.

    Raises:
        FileNotFoundError, ValueError: no such file; another kind of file; its parts do not fit together; it names code
            that is not trusted.
    """
    chosen = choose_device(device)
    return Student(load_trained_student(Path(checkpoint), chosen, trust_code=trust_code, temperature=temperature))


class Student:
    """A trained student.

    Attributes:
        model: the network, in eval mode; it takes what ``scores`` takes, and a mask of the frames that are there.
        class_names: in the order of the scores.
        input_shape: (T, H, W) of its clips, or (T, D) of its features.
        config: of the experiment that trained it.
        trained: all of it, with the run that it comes from.
    """

    def __init__(self, trained: TrainedStudent) -> None:
        self.trained = trained
        self.model: Recognizer = trained.model
        self.class_names: tuple[str, ...] = trained.class_names
        self.input_shape: tuple[int, ...] = trained.shape
        self.config: ExperimentConfig = trained.config

    def answers(
        self,
        paths: Sequence[Path | str],
        *,
        clips: int | None = None,
        crops: Literal[1, 3] | None = None,
        batch_size: int | None = None,
        scan: Literal["decode", "index_only"] | None = None,
        on_message: Callable[[str], None] = log.info,
        on_progress: OnProgress = lambda noun, done, total: None,
    ) -> Iterator[Answer | NoAnswer]:
        """Answer for each file once, as evaluation would: the same frames, crops and averaging.

        Args:
            paths: videos of any kind that FFmpeg reads, and folders of them; TFRecord files for a student of features.
            clips: of each video; default: those of the student's test.
            crops: of each clip; default: those of the student's test.
            batch_size: clips of a forward pass; default 16, or 256 records of features.
            scan: "decode" each file once to count its frames, or count packets; default: as in training.
            on_message: called with a sentence for what is left out, and for each damaged video.
            on_progress: gets ("files" or "videos", done, total).

        Yields:
            ``Answer`` with ``file``, ``scores_K`` and ``logits_K``, or ``NoAnswer`` with ``file`` and ``reason``.
        """
        if self.config.data.kind == "features":
            from reskd.inference.feature_records import answer_records

            size = batch_size or 256
            yield from answer_records(
                self.trained, paths, batch_size=size, on_message=on_message, on_progress=on_progress
            )
            return
        settings = self.video_settings(clips=clips, crops=crops, batch_size=batch_size, scan=scan)
        yield from answer_videos(self.trained, paths, settings, on_message=on_message, on_progress=on_progress)

    def video_settings(
        self,
        *,
        clips: int | None = None,
        crops: Literal[1, 3] | None = None,
        batch_size: int | None = None,
        scan: Literal["decode", "index_only"] | None = None,
    ) -> VideoSettings:
        """How ``answers`` reads videos for these arguments."""
        data = self.config.clips
        return VideoSettings(
            test_views=TestViews(clips or data.sampling.test_clips, crops or data.sampling.test_crops),
            batch_size=batch_size or 16,
            scan=scan or data.scan,
        )

    @torch.no_grad()
    def scores(self, clips: Tensor, valid_NT: Tensor | None = None) -> Tensor:
        """The probability of each class for clips that are already frames.

        Args:
            clips: uint8 (N, T, H, W, 3), RGB, of the student's ``input_shape``; of features uint8 (N, T, D).
            valid_NT: bool, False for a frame that repeats the one before or is missing; default: all are there.

        Returns:
            fp32 (N, K), on the CPU.

        Raises:
            TypeError, ValueError: another dtype or shape.
        """
        shape = (*self.input_shape, 3) if len(self.input_shape) == 3 else self.input_shape
        if clips.dtype != torch.uint8:
            raise TypeError(f"clips: expected uint8, found {clips.dtype}; pixels from 0 to 255, not normalized.")
        if tuple(clips.shape[1:]) != shape:
            raise ValueError(f"clips: expected shape (N, {', '.join(map(str, shape))}), found {tuple(clips.shape)}.")
        if valid_NT is None:
            valid_NT = torch.ones(clips.shape[:2], dtype=torch.bool)
        device = self.trained.device
        with answering_precision(self.trained).autocast():
            logits_NK = self.model(clips.to(device), valid_NT.to(device)).logits_NK.float().cpu()
        return self.trained.score(logits_NK)

    def top(self, scores_K: Tensor, count: int = 5) -> list[tuple[str, float]]:
        """(class, score) of the best classes, best first."""
        return self.trained.top(scores_K, count)
