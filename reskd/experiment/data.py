"""All that depends on whether an experiment's data are clips or features, behind one protocol.

``data_of`` is the only place that looks at the kind; everybody else calls the protocol's methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import torch

from dali_pipes.config import Averaging
from dali_pipes.features.config import FeatureDataConfig
from dali_pipes.features.loader import FeatureLoader
from dali_pipes.features.manifest import FeatureManifest
from dali_pipes.loader.clip_loader import ClipLoader
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.sampling.order import ReadingOrder
from dali_pipes.sampling.spec import TestViews
from reskd.experiment.clip_data import ClipData, ListedLabels
from reskd.experiment.config import ExperimentConfig, ViewName
from reskd.experiment.feature_data import FeatureData
from reskd.models.config import RecognizerConfig

AnyManifest = Manifest | FeatureManifest
AnyLoader = ClipLoader | FeatureLoader
ManifestT = TypeVar("ManifestT")


class ExperimentData(Protocol[ManifestT]):
    """The data of an experiment; ClipData and FeatureData are of this form."""

    @property
    def num_frames_key(self) -> str:
        """The setting that says how many frames a teacher sees, as an error names it."""
        ...

    def build_manifests(
        self, splits: Sequence[str], *, seed: int, on_message: Callable[[str], None]
    ) -> Mapping[str, ManifestT]:
        """The videos of each split, after a look into files that are new. "val" is left out where it is empty."""
        ...

    def listed_labels(self, seed: int) -> ListedLabels | None:
        """What the lists alone say of the labels; None where only ``build_manifests`` reads labels."""
        ...

    def count_training_list(self, seed: int) -> tuple[int, int]:
        """(videos, classes) to train on; no video is decoded.

        Raises:
            ValueError, OSError: the lists or records are not there, or not as expected.
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
        """Batches of these views on ``device``. ``quarantine``: CSV of what could not be read."""
        ...

    def view_shapes(self) -> dict[str, tuple[int, ...]]:
        """(T, H, W), or (T, D) of features, of "student" and then of "teacher", where that has a view."""
        ...

    @property
    def averaging(self) -> Averaging:
        """What is averaged over a video's clips and crops."""
        ...

    def test_views(self, split: Literal["val", "test"]) -> TestViews:
        """The clips and crops of each video in validation or in a test."""
        ...

    def check_network(self, config: RecognizerConfig) -> None:
        """Raises ValueError where a network would take these data for something else."""
        ...

    def student_sees_all(self, num_frames: int) -> bool:
        """Whether the student's view holds as much of a video as a teacher's view of ``num_frames`` does."""
        ...

    def describe_protocol(self, which: ViewName) -> str:
        """How a test shows a video to the student or the teacher: part of a sentence."""
        ...

    def describe_input(self) -> dict[str, Any]:
        """How a test shows a video to the student, as plain values for other programs (docs/deploy.md)."""
        ...


def data_of(config: ExperimentConfig) -> ExperimentData[Any]:
    """The data of an experiment, whatever their kind."""
    if isinstance(config.data, FeatureDataConfig):
        return FeatureData(config.data)
    return ClipData(config.data)
