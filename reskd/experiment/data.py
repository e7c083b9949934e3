"""One protocol for an experiment's data, which are clips or features.

Only ``data_of`` tests the kind; all other code calls the protocol's methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import torch

from dali_pipes.features.config import FeatureDataConfig
from dali_pipes.features.loader import FeatureLoader
from dali_pipes.features.manifest import FeatureManifest
from dali_pipes.loader.clip_loader import ClipLoader
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.sampling.order import ReadingOrder
from dali_pipes.sampling.spec import TestViews
from dali_pipes.sampling_config import Averaging
from reskd.experiment.clip_data import ClipData, ListedLabels
from reskd.experiment.config import ExperimentConfig, ViewName
from reskd.experiment.feature_data import FeatureData
from reskd.models.config import RecognizerConfig

AnyManifest = Manifest | FeatureManifest
AnyLoader = ClipLoader | FeatureLoader
ManifestT = TypeVar("ManifestT")


class ExperimentData(Protocol[ManifestT]):
    """The data of an experiment; ClipData and FeatureData implement it."""

    @property
    def num_frames_key(self) -> str:
        """The key, for errors, of the number of frames that a teacher sees."""
        ...

    def build_manifests(
        self,
        splits: Sequence[str],
        *,
        seed: int,
        on_message: Callable[[str], None],
        on_damage: Callable[[str], None] | None = None,
    ) -> Mapping[str, ManifestT]:
        """Scan new files, and return the videos of each split. An empty "val" is left out.

        Args:
            on_damage: called in place of ``on_message`` with what is damaged or left out.
        """
        ...

    def write_splits(self, path: Path, *, seed: int) -> None:
        """Write the split of each video as CSV, if videos are listed one by one."""
        ...

    def listed_labels(self, seed: int) -> ListedLabels | None:
        """The labels as the lists alone give them; None if only ``build_manifests`` reads labels."""
        ...

    def lists_are_there(self) -> bool:
        """Whether the training list or records, and the file of class names, are on this machine."""
        ...

    def known_damage(self) -> Mapping[str, str]:
        """Path in the list -> what an earlier scan found wrong with the file.

        Raises:
            ValueError, OSError: the lists are missing, or not as expected.
        """
        ...

    def count_training_list(self, seed: int) -> tuple[int, int]:
        """The numbers of training videos and of classes; no video is decoded.

        Raises:
            ValueError, OSError: the lists or records are missing, or not as expected.
        """
        ...

    def make_loader(
        self,
        manifest: ManifestT,
        order: ReadingOrder,
        *,
        views: Sequence[str],
        device: torch.device,
        quarantine: Path,
    ) -> AnyLoader:
        """Batches of these views on ``device``. ``quarantine``: CSV file that lists unreadable videos."""
        ...

    def decoding_bytes(self, manifest: ManifestT, *, views: Sequence[str], num_clips: int) -> int:
        """GPU memory that a loader of these views needs for batches of so many clips, an estimate."""
        ...

    def view_shapes(self) -> dict[str, tuple[int, ...]]:
        """(T, H, W), or (T, D) for features, of "student" and then of "teacher", if it has a view."""
        ...

    @property
    def averaging(self) -> Averaging:
        """The quantity that is averaged over a video's clips and crops."""
        ...

    def test_views(self, split: Literal["val", "test"]) -> TestViews:
        """The clips and crops of each video in validation or in a test."""
        ...

    def check_network(self, config: RecognizerConfig) -> None:
        """Raises ValueError if a network would misread these data."""
        ...

    def student_sees_all(self, num_frames: int) -> bool:
        """Whether the student's view covers as much of a video as a teacher's view of ``num_frames``."""
        ...

    def describe_protocol(self, which: ViewName) -> str:
        """Part of a sentence that describes the student's or the teacher's input in a test."""
        ...

    def describe_input(self) -> dict[str, Any]:
        """The student's input in a test, as plain values for other programs (docs/deploy.md)."""
        ...


def data_of(config: ExperimentConfig) -> ExperimentData[Any]:
    """The data of an experiment, of either kind."""
    if isinstance(config.data, FeatureDataConfig):
        return FeatureData(config.data)
    return ClipData(config.data)
