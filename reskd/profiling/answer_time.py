"""Measures how long one video takes from its undecoded file to its scores, on one thread and in one process.

The work is that of a test: read and decode the frames of every test view, crop and resize them, run the network, and
average its scores. The loader's workers do the same with the same functions, but several at once.

Shape letters: T frames, H W pixels, C colors, K classes.
"""

from __future__ import annotations

import statistics
import time
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from dali_pipes.config import DataConfig
from dali_pipes.loader.clip_reader import ClipReader
from dali_pipes.loader.cpu_render import render_plan
from dali_pipes.loader.decoder_choice import BY_PYAV
from dali_pipes.loader.external_source import ClipChooser
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.sampling.order import ReadingOrder
from dali_pipes.sampling.spec import TestViews, rules_for_views

_VIDEOS, _REPEATS = 8, 10


class AnswerTime(NamedTuple):
    """Milliseconds of wall time: the median over ``num_videos`` of the fastest of ``num_repeats``."""

    ms: float
    num_videos: int
    num_repeats: int


class FileToScores:
    """Answers a manifest's videos one by one, on a CPU. Nothing decoded is kept.

    Args:
        model: uint8 frames, valid_NT -> RecognizerOutput.
        test_views: of each video.

    Raises:
        ValueError: a view is antialiased, which only the loader's graph renders.
    """

    def __init__(self, model: nn.Module, config: DataConfig, manifest: Manifest, test_views: TestViews) -> None:
        render = render_plan(config.views, ("student",))
        if render is None:
            raise ValueError("the time from file to scores: expected views without antialias, found one with it.")
        self._model, self._num_views = model.eval(), test_views.num_test_views
        self._reader = ClipReader(BY_PYAV, config.loader.sparse_decode, render)
        rules = rules_for_views(config, ("student",), mode="eval", test_views=test_views)
        self._chooser = ClipChooser(manifest, rules, ReadingOrder(mode="eval", batch_size=1, test_views=test_views))

    @torch.no_grad()
    def scores_of(self, row: int) -> Tensor:
        """float32 (K,): the mean softmax of the video's views. ``row``: of the manifest."""
        scores = []
        for position in range(row * self._num_views, (row + 1) * self._num_views):
            plan = self._chooser.plan(position, 0)
            clip = self._reader.read(plan, self._chooser.manifest.row(plan.row), by_pyav=True)
            frames_1THWC = torch.from_numpy(clip.student_THWC)[None]
            valid_1T = torch.from_numpy(np.asarray(plan.student_valid_k, bool))[None]
            scores.append(self._model(frames_1THWC, valid_1T).logits_NK[0].float().softmax(0))
        return torch.stack(scores).mean(0)


def measure_answer_time(answers: FileToScores, num_videos: int) -> AnswerTime:
    """Time videos spread evenly over a manifest of ``num_videos``. Torch's threads are those of the caller.

    Each is answered once before, so that its file is in memory. Between two times of a video are all others, as what
    else slows a machine often lasts a second.
    """
    rows = np.unique(np.linspace(0, num_videos - 1, min(_VIDEOS, num_videos)).round().astype(int)).tolist()
    for row in rows:
        answers.scores_of(row)
    rounds = [[_ms_of(answers, row) for row in rows] for _ in range(_REPEATS)]
    return AnswerTime(statistics.median(map(min, zip(*rounds, strict=True))), len(rows), _REPEATS)


def _ms_of(answers: FileToScores, row: int) -> float:
    start = time.perf_counter()
    answers.scores_of(row)
    return 1e3 * (time.perf_counter() - start)
