"""Clips of videos as an experiment's data: see ExperimentData in data.py."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from dali_pipes.config import DataConfig
from dali_pipes.fault_log import LoaderLog
from dali_pipes.loader.clip_loader import ClipLoader
from dali_pipes.loader.memory import decoding_bytes
from dali_pipes.manifest.build import build_manifests, copy_split_table
from dali_pipes.manifest.known_damage import known_damage
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.manifest.splits import videos_of_splits
from dali_pipes.sampling.order import ReadingOrder
from dali_pipes.sampling.spec import TestViews, first_view_size, student_frames
from dali_pipes.sampling_config import Averaging
from dali_pipes.storage_spec import is_shard_pattern
from reskd.experiment.config import ViewName
from reskd.models.config import RecognizerConfig

log = logging.getLogger(__name__)


class ListedLabels(NamedTuple):
    """The labels as the lists alone give them.

    Attributes:
        num_labels: "train" and "val" -> int (N,), the number of labels of each video.
        class_names: of the K classes, in order.
    """

    num_labels: Mapping[str, np.ndarray]
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class ClipData:
    """Clips that are decoded from videos."""

    config: DataConfig

    num_frames_key = "data.sampling.num_frames"

    def build_manifests(
        self,
        splits: Sequence[str],
        *,
        seed: int,
        on_message: Callable[[str], None],
        on_damage: Callable[[str], None] | None = None,
    ) -> Mapping[str, Manifest]:
        return build_manifests(self.config, seed=seed, splits=splits, on_message=on_message, on_damage=on_damage)

    def write_splits(self, path: Path, *, seed: int) -> None:
        copy_split_table(self.config, path, seed=seed, splits=("train", "val"))

    def listed_labels(self, seed: int) -> ListedLabels:
        """Read the lists alone: opening the videos may take hours the first time."""
        class_names, videos = videos_of_splits(self.config, seed, ("train", "val"), lambda message: None, compare=False)
        num_labels = {name: np.array([len(video.labels) for video in videos[name]], int) for name in ("train", "val")}
        return ListedLabels(num_labels, tuple(class_names))

    def lists_are_there(self) -> bool:
        config = self.config
        files = [config.classes] if config.train == "folders" else [config.train, config.classes]
        named = [one for one in files if one is not None and not is_shard_pattern(one)]
        return config.root.is_dir() and all((config.root / one).is_file() for one in named)

    def known_damage(self) -> dict[str, str]:
        return known_damage(self.config)

    def count_training_list(self, seed: int) -> tuple[int, int]:
        """Read the lists alone."""
        listed = self.listed_labels(seed)
        return len(listed.num_labels["train"]), len(listed.class_names)

    def make_loader(
        self,
        manifest: Manifest,
        order: ReadingOrder,
        *,
        views: Sequence[str],
        device: torch.device,
        quarantine: Path,
    ) -> ClipLoader:
        loader_log = LoaderLog(quarantine, log.warning)
        return ClipLoader(manifest, self.config, order=order, views=views, device=device, log=loader_log)

    def decoding_bytes(self, manifest: Manifest, *, views: Sequence[str], num_clips: int) -> int:
        return decoding_bytes(manifest, self.config, views=views, num_clips=num_clips)

    def view_shapes(self) -> dict[str, tuple[int, ...]]:
        views, num_frames = self.config.views, self.config.sampling.num_frames
        size = views.student.size
        if views.student.upsample_to_teacher:
            assert views.teacher is not None
            size = views.teacher.size
        shapes: dict[str, tuple[int, ...]] = {"student": (views.student.num_frames or num_frames, *size)}
        return shapes | ({"teacher": (num_frames, *views.teacher.size)} if views.teacher else {})

    @property
    def averaging(self) -> Averaging:
        return self.config.sampling.average_views

    def test_views(self, split: Literal["val", "test"]) -> TestViews:
        sampling = self.config.sampling
        if split == "val":
            return TestViews(sampling.val_clips, sampling.val_crops)
        return TestViews(sampling.test_clips, sampling.test_crops)

    def check_network(self, config: RecognizerConfig) -> None:
        """Any network on pixels takes any frames."""

    def student_sees_all(self, num_frames: int) -> bool:
        """The T frames of a clip span the video for any T, so a TSN network may later be given more of them."""
        k = self.config.views.student.num_frames
        return k is None or k >= num_frames

    def describe_protocol(self, which: ViewName) -> str:
        num_frames, height, width = self.view_shapes()[which]
        views, sampling = self.config.views, self.config.sampling
        frames = f"{num_frames} frames"
        if num_frames < sampling.num_frames:
            selection = views.student.selection
            frames = f"{num_frames} of {sampling.num_frames} frames"
            frames += f" ({selection.replace('_', ' ')})" if selection != "uniform" else ""
        spacing = f"{sampling.frames.stride} apart" if sampling.frames.kind == "dense" else "at equal distances"
        crops = f"1 center crop of {sampling.test_crop_ratio:g} of the short side"
        if sampling.test_crops == 3:
            crops = "3 crops along the longer side"
        text = f"{sampling.test_clips} clip(s) a video, {frames} {spacing}, {crops}, shown at {height}x{width}"
        if sampling.test_clips * sampling.test_crops > 1:
            text += f", {sampling.average_views} averaged"
        if which == "student" and views.student.source == "teacher_view" and views.teacher:
            text += f", shrunk from the teacher's {views.teacher.size[0]}x{views.teacher.size[1]}"
        return text

    def describe_input(self) -> dict[str, Any]:
        views, sampling = self.config.views, self.config.sampling
        num_frames, height, width = self.view_shapes()["student"]
        first_height, first_width = first_view_size(self.config)
        sizes = [views.teacher.size] if views.teacher and views.student.source == "teacher_view" else []
        sizes.append(views.student.size)
        if views.student.upsample_to_teacher:
            sizes.append((height, width))
        shape = ["N", num_frames, height, width, 3]
        return {
            "input": {"name": "frames", "dtype": "uint8", "shape": shape, "colour": "RGB"},
            "frames": self._describe_frames(),
            "crop": {
                "kind": "center",
                "ratio": sampling.test_crop_ratio,
                "aspects": [first_height / first_width, first_width / first_height],
            },
            "pixel_aspect": self.config.pixel_aspect,
            "resize": {"sizes": [list(size) for size in sizes], "antialias": views.student.antialias},
            "test": sampling.model_dump(mode="json", include={"test_clips", "test_crops", "average_views"}),
        }

    def _describe_frames(self) -> dict[str, Any]:
        """The frames of one test view; ``rule`` says in a formula what the other values mean (docs/deploy.md)."""
        sampling, student = self.config.sampling, self.config.views.student
        total = sampling.num_frames
        chosen = student_frames(student.num_frames, total, student.selection)
        settings = sampling.frames.model_dump(mode="json", exclude={"train"})
        if sampling.frames.kind == "dense":
            is_spread, loops = sampling.frames.test_starts == "spread", sampling.frames.short_video == "loop"
            start = "n - 1 - (num_frames - 1) * stride" if is_spread else "n - num_frames * stride + 1"
            last = "start + (n - 1 - start) // stride * stride"
            frame = "(start + k * stride) % n" if loops else f"min(start + k * stride, {last})"
            rule = f"{frame} for each k in chosen, with start = max({start}, 0) // 2, in a video of n frames"
            return settings | {"num_frames": total, "chosen": chosen, "rule": rule}
        rule = "k * n // of for each k in at, in a video of n frames"
        return settings | {"at": [2 * index + 1 for index in chosen], "of": 2 * total, "rule": rule}
