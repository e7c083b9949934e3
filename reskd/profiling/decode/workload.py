"""The work of every candidate of the decode benchmark: the clips, the batch size and the views.

Shape letters: N clips, T frames, H W pixels, C colors.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from torch import Tensor

from dali_pipes.config import DataConfig
from dali_pipes.loader.external_source import ClipChooser
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.sampling.order import ReadingOrder
from dali_pipes.sampling.spec import first_view_size, rules_from_config


class Batch(NamedTuple):
    """uint8 views (N, T, H, W, C) and int64 frame numbers (N, T); a single clip has no N."""

    teacher_NTHWC: Tensor
    student_NTHWC: Tensor
    frame_index_NT: Tensor


@dataclass(frozen=True)
class Workload:
    """Random TSN segments of the manifest's videos with training's crops and flips, in training's order.

    Args:
        manifest_folder: a folder that ``Manifest.save`` wrote.
        num_frames: T.
        batch_size: N.
        num_workers: reading processes, and DALI's threads.
        num_positions: number of planned clips; candidates stop there.
        seed: of order, frames, crops and flips.
        device: of the views.
        sizes: (height, width) of the teacher's and the student's view.
    """

    manifest_folder: Path
    num_frames: int
    batch_size: int
    num_workers: int
    num_positions: int
    seed: int = 0
    device: Literal["cpu", "cuda"] = "cpu"
    sizes: tuple[tuple[int, int], tuple[int, int]] = ((224, 224), (112, 112))

    def config(self) -> DataConfig:
        """The settings of a ClipLoader that yields these clips."""
        return DataConfig.model_validate(
            {
                "root": self.manifest_folder,  # not used: the manifest has its own
                "train": "folders",
                "sampling": {"num_frames": self.num_frames},
                "views": {"teacher": {"size": self.sizes[0]}, "student": {"size": self.sizes[1]}},
                "loader": {"num_workers": self.num_workers, "num_threads": self.num_workers},
            }
        )

    def chooser(self) -> ClipChooser:
        """Position -> plan of the clip."""
        config = self.config()
        rules = rules_from_config(config.sampling, view_size=first_view_size(config), mode="train")
        return ClipChooser(Manifest.open(self.manifest_folder), rules, self.order())

    def order(self) -> ReadingOrder:
        """The order that gives the batches their clips."""
        return ReadingOrder(mode="train", batch_size=self.batch_size, seed=self.seed)
