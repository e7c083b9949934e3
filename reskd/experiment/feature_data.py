"""Features of frames as an experiment's data: see ExperimentData in data.py."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from dali_pipes.fault_log import LoaderLog
from dali_pipes.features.config import EXTRACTION_FILE, FeatureDataConfig, read_settings
from dali_pipes.features.loader import FeatureLoader
from dali_pipes.features.manifest import FeatureManifest, build_feature_manifests
from dali_pipes.sampling.order import ReadingOrder
from dali_pipes.sampling.spec import ONE_TEST_VIEW, TestViews
from dali_pipes.sampling_config import Averaging
from reskd.experiment.config import ViewName
from reskd.models.config import FeaturesConfig, RecognizerConfig

# YouTube-8M's: dali_pipes/features/quantization.py.
_QUANTIZATION = {
    "value": "byte * 4 / 255 + 4 / 512 - 2",
    "byte": "round((value + 2 - 4 / 512) * 255 / 4), at least 0 and at most 255",
    "layout": "the groups' vectors in their order, end to end; rows beyond the frames are 0, and valid is false there",
}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeatureData:
    """Features that were extracted before. A test has one view of each video."""

    config: FeatureDataConfig

    num_frames_key = "data.max_frames"
    averaging: ClassVar[Averaging] = "probabilities"

    def build_manifests(
        self,
        splits: Sequence[str],
        *,
        seed: int,
        on_message: Callable[[str], None],
        on_damage: Callable[[str], None] | None = None,
    ) -> Mapping[str, FeatureManifest]:
        return build_feature_manifests(
            self.config, seed=seed, splits=splits, on_message=on_message, on_damage=on_damage
        )

    def write_splits(self, path: Path, *, seed: int) -> None:
        """Writes nothing: a record's split follows from its file or a hash of its id, and there may be millions."""

    def listed_labels(self, seed: int) -> None:
        """None: only the records hold labels."""

    def lists_are_there(self) -> bool:
        config = self.config
        if Path(config.train).is_absolute():
            return True  # refused wherever they are
        has_classes = config.classes is None or (config.root / config.classes).is_file()
        return has_classes and any(path.is_file() for path in config.root.glob(config.train))

    def known_damage(self) -> dict[str, str]:
        """None: records are read without a scan."""
        return {}

    def count_training_list(self, seed: int) -> tuple[int, int]:
        """At most the headers of the records are read."""
        manifest = build_feature_manifests(self.config, seed=seed, splits=("train",))["train"]
        return len(manifest), len(manifest.class_names)

    def make_loader(
        self,
        manifest: FeatureManifest,
        order: ReadingOrder,
        *,
        views: Sequence[str],
        device: torch.device,
        quarantine: Path,
    ) -> FeatureLoader:
        loader_log = LoaderLog(quarantine, log.warning)
        return FeatureLoader(manifest, self.config, order=order, views=views, device=device, log=loader_log)

    def decoding_bytes(self, manifest: FeatureManifest, *, views: Sequence[str], num_clips: int) -> int:
        """Features are read on the CPU."""
        return 0

    def view_shapes(self) -> dict[str, tuple[int, ...]]:
        views, num_frames, dim = self.config.views, self.config.max_frames, self.config.feature_dim
        shapes: dict[str, tuple[int, ...]] = {"student": (views.student.num_frames or num_frames, dim)}
        return shapes | ({"teacher": (num_frames, dim)} if views.teacher else {})

    def test_views(self, split: Literal["val", "test"]) -> TestViews:
        return ONE_TEST_VIEW

    def check_network(self, config: RecognizerConfig) -> None:
        """Compare the groups by name and order: groups of equal size in another order would fit unnoticed."""
        if not isinstance(config, FeaturesConfig):
            return
        expected, found = list(self.config.groups.items()), list(config.groups.items())
        if found != expected:
            raise ValueError(
                f"expected data.groups {expected}, in that order, found groups {found}; make them the same."
            )

    def student_sees_all(self, num_frames: int) -> bool:
        """A record is cut after its first ``max_frames`` frames, so fewer frames cover less of the video."""
        return self.view_shapes()["student"][0] >= num_frames

    def describe_protocol(self, which: ViewName) -> str:
        groups = " and ".join(f"{name} ({dim})" for name, dim in self.config.groups.items())
        student, most = self.config.views.student, self.config.max_frames
        if which == "teacher" or student.num_frames is None:
            return f"all frames, at most {most}, of the features {groups}"
        return f"{student.num_frames} of at most {most} frames ({student.selection}) of the features {groups}"

    def describe_input(self) -> dict[str, Any]:
        """Also describes how the features were extracted, if a file beside the records tells."""
        view = self.config.views.student
        num_frames, dim = self.view_shapes()["student"]
        return {
            "input": {"name": "features", "dtype": "uint8", "shape": ["N", num_frames, dim]},
            "valid": {"name": "valid", "dtype": "bool", "shape": ["N", num_frames]},
            "groups": [list(group) for group in self.config.groups.items()],
            "quantisation": dict(_QUANTIZATION),
            "frames": {
                "selection": view.selection,
                "num_frames": num_frames,
                "max_frames": self.config.max_frames,
            },
        } | self._describe_extraction()

    def _describe_extraction(self) -> dict[str, Any]:
        """The settings that extract-features wrote beside the records; a hash stands for the path of the weights."""
        path = self.config.root / EXTRACTION_FILE
        if not path.is_file():
            return {}
        settings = read_settings(path)
        return {"extraction": {key: value for key, value in settings.items() if key != "origin"}}
