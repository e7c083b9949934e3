"""An experiment's lists as manifests, and whether their labels suit its loss and its selection metric."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from reskd.distributed import World, barrier
from reskd.evaluation.metrics import ScoredList, check_selection_metric
from reskd.experiment.config import ExperimentConfig
from reskd.experiment.data import AnyManifest, data_of
from reskd.experiment.networks import scores_of

log = logging.getLogger(__name__)


def build_training_lists(config: ExperimentConfig, *, world: World) -> Mapping[str, AnyManifest]:
    """The manifest of "train" and, unless it is empty, that of "val".

    Raises:
        ValueError: as check_labels, and before a video is opened where the lists already say so.
    """
    listed = data_of(config).listed_labels(config.seed)
    if listed:
        check_labels(config, listed.num_labels, num_classes=listed.num_classes)
    manifests = build_manifests(config, world=world, splits=("train", "val"))
    num_labels = {split: manifest.num_labels for split, manifest in manifests.items()}
    check_labels(config, num_labels, num_classes=len(manifests["train"].class_names))
    return manifests


def build_manifests(config: ExperimentConfig, *, world: World, splits: tuple[str, ...]) -> Mapping[str, AnyManifest]:
    """The lists as manifests. Rank 0 looks into the files, the others wait and read what it found."""
    found: Mapping[str, AnyManifest] = {}
    for turn_of_main in (True, False):
        if world.is_main == turn_of_main:
            found = data_of(config).build_manifests(splits, seed=config.seed, on_message=log.info)
        barrier(world)
    return found


def check_labels(config: ExperimentConfig, num_labels: Mapping[str, np.ndarray], *, num_classes: int) -> None:
    """Refuse a loss or a selection metric for one label a video where some have several.

    Args:
        num_labels: integers, one for each video of "train" and, where there is one, "val".
    """
    counts = np.concatenate(list(num_labels.values()))
    several_labels = bool((counts > 1).any())
    where = f"{(counts > 1).sum()} of {len(counts)} videos in data.train have several labels"
    if several_labels and config.loss.task == "softmax_ce":
        raise ValueError(
            f"{where}, which loss.task = softmax_ce cannot learn; set loss.task to sigmoid_bce (all labels) or "
            "random_label_ce (one of them drawn each time, as the paper's code does), or list one label a video."
        )
    num_validated = len(num_labels.get("val", ()))
    if num_validated:
        num_test_views = data_of(config).test_views("val").num_test_views
        # A list gives what its own videos allow; one without several labels by chance has no gap of softmax scores.
        for several in {several_labels, bool((num_labels["val"] > 1).any())}:
            scored_list = ScoredList(num_validated, num_classes, num_test_views, several, scores_of(config))
            check_selection_metric(config.training.selection_metric, scored_list)
