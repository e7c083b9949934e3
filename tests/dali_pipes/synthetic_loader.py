"""Clips that are computed, not read: the interface of ClipLoader without files, DALI or workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from dali_pipes.annotations.lists import LabeledVideo
from dali_pipes.batch import PADDING_POSITION, ClipBatch, View, label_sets_of
from dali_pipes.config import DataConfig
from dali_pipes.fault_log import FaultLog
from dali_pipes.loader.external_source import ClipChooser
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.sampling.clip_plan import ClipPlan
from dali_pipes.sampling.counter_rng import uniform
from dali_pipes.sampling.order import ReadingOrder
from dali_pipes.sampling.spec import first_view_size, rules_for_views
from tests.dali_pipes.made_video_info import make_video_info

# The made-up source: as large as the small sets' videos.
_NUM_FRAMES, _HEIGHT, _WIDTH = 64, 240, 320
_CLASS, _CLIP = 101, 102  # which use of the hash; apart from those of sampling.py


class SyntheticLoader:
    """Clips whose pixels are a pure function of the row: stripes with a color and width of the class, a phase and
    background of the clip, moving with time. Positions, order, frames, crops and flips are
    those that a ClipLoader over as many videos would give.

    Args:
        manifest: the clips, see ``synthetic_manifest``.
        config: sampling and views are used.
        order, views, device: as in ClipLoader.

    Raises:
        ValueError: sizes or names that do not fit.
    """

    def __init__(
        self,
        manifest: Manifest,
        config: DataConfig,
        *,
        order: ReadingOrder,
        views: Sequence[str],
        device: torch.device | str = "cpu",
    ) -> None:
        self._config, self._order, self._views = config, order, tuple(views)
        self._device = torch.device(device)
        order.check(len(manifest))
        rules = rules_for_views(config, views, mode=order.mode, test_views=order.test_views)
        self._chooser = ClipChooser(manifest, rules, order)
        self._iteration = 0
        self.faults = FaultLog(None, config.loader.max_bad_fraction)

    @property
    def num_samples(self) -> int:
        """Clips of an epoch, over all ranks; in evaluation the videos of the list."""
        return len(self._chooser.manifest)

    @property
    def num_test_views(self) -> int:
        """V, positions of each video in an evaluation pass; 1 in training."""
        return self._chooser.num_test_views

    @property
    def num_batches(self) -> int:
        """Batches of an evaluation pass on every rank; in training, of an epoch, rounded up."""
        return self._order.num_batches(self._chooser.num_positions)

    def describe_reading(self) -> str:
        return "computed, no files"

    def __iter__(self) -> Iterator[ClipBatch]:
        if self._order.mode == "eval":
            yield from (self._batch(number) for number in range(self.num_batches))
            return
        while True:
            self._iteration += 1
            yield self._batch(self._iteration - 1)

    def close(self) -> None:
        """Nothing to free."""

    def _batch(self, iteration: int) -> ClipBatch:
        indices = range(self._order.batch_size)
        positions = [self._order.position(iteration, index, self._chooser.num_positions) for index in indices]
        plans = [self._chooser.plan(position, 0) for position in positions]
        rows_N = torch.tensor([plan.row for plan in plans])
        if self._order.mode == "eval":
            positions = [p if p < self._chooser.num_positions else PADDING_POSITION for p in positions]
        return ClipBatch(
            {name: self._view(name, plans) for name in self._views},
            rows_N % len(self._chooser.manifest.class_names),
            rows_N,
            torch.tensor(positions),
            torch.zeros(len(plans), dtype=torch.bool),
            label_sets_of(self._chooser.manifest, rows_N),
        ).to(self._device)

    def _view(self, name: str, plans: Sequence[ClipPlan]) -> View:
        views, size = self._config.views, first_view_size(self._config)
        numbers, valid = [plan.frame_index_T for plan in plans], [plan.valid_T for plan in plans]
        if name == "student":
            numbers = [plan.frame_index_T[plan.student_k] for plan in plans]
            valid = [plan.student_valid_k for plan in plans]
            size = size if views.student.upsample_to_teacher else views.student.size
        data = np.stack([self._render(plan, frames, size) for plan, frames in zip(plans, numbers, strict=True)])
        index_NT = torch.tensor(np.stack(numbers), dtype=torch.int64)
        return View(torch.from_numpy(data), index_NT, torch.tensor(np.stack(valid)))

    def _render(self, plan: ClipPlan, frame_index: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """uint8 (frames, height, width, 3): the plan's crop at ``size``, drawn where its pixels lie in the source."""
        height, width = size
        y = (plan.crop.y + (np.arange(height) + 0.5) * plan.crop.height / height)[None, :, None, None] / _HEIGHT
        x = (plan.crop.x + (np.arange(width) + 0.5) * plan.crop.width / width)[None, None, :, None] / _HEIGHT
        x = x[:, :, ::-1] if plan.flip else x
        t = frame_index[:, None, None, None] / _NUM_FRAMES
        label = plan.row % len(self._chooser.manifest.class_names)
        color, background = uniform(_CLASS, label, np.arange(3)), uniform(_CLIP, plan.row, np.arange(3))
        phase, tilt = uniform(_CLIP, plan.row, np.arange(3, 5))
        wave = np.sin(2 * np.pi * ((2 + label % 8) * (y + 0.2 * tilt * x + t) + phase))
        return np.clip(64 + 64 * background + 96 * (color - 0.5) * (1 + wave), 0, 255).astype(np.uint8)


def synthetic_manifest(num_clips: int, num_classes: int, *, labels_per_clip: int = 1) -> Manifest:
    """As many clips; row r has class r mod K, and the classes r + 1, r + 2, ... mod K, ``labels_per_clip`` in all.

    Raises:
        ValueError: no clip, no class, or more labels than classes.
    """
    if num_clips < 1:
        raise ValueError(f"num_clips: expected at least 1, found {num_clips}.")
    if num_classes < 1:
        raise ValueError(f"num_classes: expected at least 1, found {num_classes}.")
    if not 1 <= labels_per_clip <= num_classes:
        raise ValueError(
            f"labels_per_clip: expected 1 to {num_classes}, the number of classes, found {labels_per_clip}."
        )
    root = Path("synthetic")
    videos = [
        LabeledVideo(f"{row}", tuple((row + more) % num_classes for more in range(labels_per_clip)), f"{row}")
        for row in range(num_clips)
    ]
    size = {"num_frames": _NUM_FRAMES, "num_packets": _NUM_FRAMES, "width": _WIDTH, "height": _HEIGHT}
    video_info = make_video_info(**size, codec="computed", pix_fmt="rgb24", file_size=0, mtime_ns=0)
    return Manifest.from_video_info(
        root, [f"class{k}" for k in range(num_classes)], videos, {v.path: video_info for v in videos}
    )
