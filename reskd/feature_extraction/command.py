"""The videos and the network that an extraction is run on. reskd prepare has its command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError

from dali_pipes.config import DataConfig, StudentViewConfig, ViewsConfig
from reskd.experiment.config import ViewName, load_config, recognizer_from
from reskd.experiment.config_files import read_settings
from reskd.feature_extraction.network import FrameNetwork, network_of_run, network_of_settings
from reskd.models.config import RecognizerConfig


@dataclass(frozen=True)
class VideosAsked:
    """The lists of an experiment, or lists under a folder; with neither, those that the network was trained on.

    Args:
        config: YAML file of an experiment.
        root, train, test, classes, group_pattern, val_fraction, val_pattern: as in a config's ``data``.
    """

    config: Path | None = None
    root: Path | None = None
    train: str | None = None
    test: Path | None = None
    classes: Path | None = None
    group_pattern: str | None = None
    val_fraction: float = 0.1
    val_pattern: str | None = None


@dataclass(frozen=True)
class NetworkAsked:
    """One of a run's two networks, or one of its own settings.

    Args:
        checkpoint: of a run; ``which`` chooses its student or its teacher.
        settings: key=value, including weights; ``size`` is the side of the view.
        trust_code: whether code may be executed that the checkpoint names for its networks.
    """

    checkpoint: Path | None = None
    which: ViewName = "student"
    settings: Sequence[str] | None = None
    size: int = 224
    trust_code: bool = False


def network_and_data(
    network: NetworkAsked, videos: VideosAsked, device: torch.device
) -> tuple[FrameNetwork, DataConfig, int]:
    """The network, the videos, and the seed that chooses the held-out videos.

    Raises:
        ValueError: the arguments contradict each other, or name no videos.
    """
    if (network.checkpoint is None) == (network.settings is None):
        raise ValueError("expected exactly one of --run and --model, found both or neither.")
    data, seed = _data_of(videos, network.size)
    if network.settings is not None:
        if data is None:
            raise ValueError("expected videos by --config, or by --root with --train, found neither.")
        model = _model_config(network.settings)
        return network_of_settings(model, size=(network.size, network.size), seed=seed, device=device), data, seed
    assert network.checkpoint is not None
    found, data_of_run, seed_of_run = network_of_run(
        network.checkpoint, which=network.which, device=device, trust_code=network.trust_code
    )
    return (found, data_of_run, seed_of_run) if data is None else (found, data, seed)


def _data_of(videos: VideosAsked, size: int) -> tuple[DataConfig | None, int]:
    """The named videos, and the seed that chooses the held-out ones."""
    if videos.config is not None and videos.root is not None:
        raise ValueError("expected at most one of --config and --root, found both.")
    if videos.config is not None:
        config = load_config(videos.config)
        return config.clips, config.seed
    if videos.root is None:
        return None, 1
    if videos.train is None:
        raise ValueError(
            "--root: expected --train too: a list under it, or --train folders where each class has a folder."
        )
    try:
        return DataConfig(
            root=videos.root,
            train=videos.train,
            test=videos.test,
            classes=videos.classes,
            group_pattern=videos.group_pattern,
            val_fraction=videos.val_fraction if videos.val_pattern is None else 0.0,
            val_pattern=videos.val_pattern,
            views=ViewsConfig(student=StudentViewConfig(size=(size, size), source="decoded")),
        ), 1
    except ValidationError as error:
        raise ValueError("; ".join(fault["msg"] for fault in error.errors())) from None


def _model_config(settings: Sequence[str]) -> RecognizerConfig:
    found = read_settings(settings, where="--model")
    if "weights" not in found:
        raise ValueError(
            "--model: expected weights=... too, a torchvision name or the path of a checkpoint; weights=none means "
            "random weights."
        )
    return recognizer_from(found, where="--model")
