"""Answers a long video window by window, in one decode and bounded memory.

Shape letters: N windows, T frames, H W heights and widths, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from dali_pipes.loader.cpu_render import render_plan
from dali_pipes.sampling.spec import ONE_TEST_VIEW, rules_for_views
from dali_pipes.single_pass.window_reader import ReadingNotes, read_windows
from dali_pipes.single_pass.windows import WindowClip, WindowRule
from reskd.inference.one_pass import clip_logits
from reskd.inference.student import TrainedStudent


@dataclass(frozen=True)
class WindowAnswer:
    """The student's class scores for one window of a video.

    Args:
        file: as the user gave it.
        start_s, end_s: from the first frame of the video.
        scores_K, logits_K: fp32, on the CPU.
        num_frames: frames that begin in the window; 0 where one picture stays on the screen.
        num_damaged: how many of them are damaged.
    """

    file: str
    start_s: float
    end_s: float
    scores_K: Tensor
    logits_K: Tensor
    num_frames: int
    num_damaged: int


@dataclass
class VideoWindows:
    """The windows of one file; iterate it once.

    Args:
        batch_size: windows of a forward pass.
        notes: complete after the last window.
    """

    student: TrainedStudent
    file: str
    rule: WindowRule
    batch_size: int = 16
    notes: ReadingNotes = field(default_factory=ReadingNotes)

    def __iter__(self) -> Iterator[WindowAnswer]:
        batch: list[WindowClip] = []
        for clip in read_windows(self.file, self.rule, self.notes):
            batch.append(clip)
            if len(batch) == self.batch_size:
                yield from answer_windows(self.student, self.file, batch)
                batch = []
        if batch:
            yield from answer_windows(self.student, self.file, batch)


def window_rule(student: TrainedStudent, length_s: float, stride_s: float | None = None) -> WindowRule:
    """The rule of sliding windows for a student of frames.

    Args:
        stride_s: None: windows follow one another without overlap.

    Raises:
        ValueError: the student takes features, or its views are antialiased, which OpenCV's resize does not support.
    """
    if student.config.data.kind == "features":
        raise ValueError("expected a student of videos for windows and streams, found one of features.")
    config = student.config.clips
    render = render_plan(config.views, ("student",))
    if render is None:
        raise ValueError("expected a student without antialias: true for windows and streams; train one without it.")
    rules = rules_for_views(config, ("student",), mode="eval", test_views=ONE_TEST_VIEW)
    return WindowRule(length_s, stride_s or length_s, rules, render)


def answer_windows(student: TrainedStudent, file: str, clips: list[WindowClip]) -> Iterator[WindowAnswer]:
    """Answer some windows in one forward pass."""
    frames_NTHWC = torch.from_numpy(np.stack([clip.frames_THWC for clip in clips]))
    valid_NT = torch.from_numpy(np.stack([clip.valid_T for clip in clips]))
    logits_NK = clip_logits(student, frames_NTHWC, valid_NT, batch_size=len(clips))
    for clip, scores_K, logits_K in zip(clips, student.score(logits_NK), logits_NK, strict=True):
        yield WindowAnswer(file, clip.start_s, clip.end_s, scores_K, logits_K, clip.num_frames, clip.num_damaged)
