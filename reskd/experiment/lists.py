"""Turns an experiment's lists into manifests, and checks their labels against its loss and selection metric.

Note [Why the lists are read twice]
A first scan of a data set may take hours. So labels that do not suit the loss are refused from the lists alone, before
any video is opened. Reading the lists a second time, for the manifests, costs 1.6 s of CPU time for 240,000 videos.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from dali_pipes.fault_log import is_new
from reskd.distributed import World, patient_barrier
from reskd.evaluation.metrics import ScoredList, check_selection_metric
from reskd.experiment.config import ExperimentConfig
from reskd.experiment.data import AnyManifest, data_of
from reskd.experiment.networks import scores_of
from reskd.losses.task import check_class_weights

log = logging.getLogger(__name__)


def build_training_lists(config: ExperimentConfig, *, world: World) -> Mapping[str, AnyManifest]:
    """The manifest of "train" and, unless it is empty, that of "val".

    Raises:
        ValueError: as check_labels; before any video is opened, if the lists alone hold the labels.
    """
    listed = data_of(config).listed_labels(config.seed)  # see Note [Why the lists are read twice]
    if listed:
        check_labels(config, listed.num_labels, num_classes=len(listed.class_names))
        check_class_weights(config.loss.class_weights, listed.class_names)
        _check_stopping(config, has_val=len(listed.num_labels["val"]) > 0)
    manifests = build_manifests(config, world=world, splits=("train", "val"))
    _check_stopping(config, has_val="val" in manifests)
    num_labels = {split: manifest.num_labels for split, manifest in manifests.items()}
    check_labels(config, num_labels, num_classes=len(manifests["train"].class_names))
    return manifests


def _check_stopping(config: ExperimentConfig, *, has_val: bool) -> None:
    if config.training.early_stopping is not None and not has_val:
        key = "data.val_fraction" if config.data.kind == "clips" else "data.val or data.val_fraction"
        raise ValueError(
            "training.early_stopping watches the validation videos: expected some, found none; set "
            f"{key}, or remove training.early_stopping."
        )


def build_manifests(config: ExperimentConfig, *, world: World, splits: tuple[str, ...]) -> Mapping[str, AnyManifest]:
    """Build a manifest for each split. Rank 0 scans the files; the other ranks wait and read its result."""
    found: Mapping[str, AnyManifest] = {}
    with patient_barrier(world) as wait:
        for turn_of_main in (True, False):
            if world.is_main == turn_of_main:
                found = data_of(config).build_manifests(splits, seed=config.seed, on_message=_log, on_damage=_warn)
            wait()
    return found


def _log(sentence: str) -> None:
    if is_new(sentence):
        log.info("%s", sentence)


def _warn(sentence: str) -> None:
    if is_new(sentence):
        log.warning("%s", sentence)


def check_labels(config: ExperimentConfig, num_labels: Mapping[str, np.ndarray], *, num_classes: int) -> None:
    """Refuse a loss or a selection metric for single labels if some videos have several.

    Args:
        num_labels: the number of labels of each video of "train" and, if there is one, "val".
    """
    counts = np.concatenate(list(num_labels.values()))
    several_labels = bool((counts > 1).any())
    where = f"{(counts > 1).sum()} of {len(counts)} videos in data.train have several labels"
    if several_labels and config.data.class_sampling == "balanced":
        raise ValueError(
            f"data.class_sampling = balanced reads each class equally often, but {where}; set it to natural, or list "
            "one label a video."
        )
    if several_labels and config.loss.task == "softmax_ce":
        raise ValueError(
            f"{where}, which loss.task = softmax_ce cannot learn; set loss.task to sigmoid_bce (all labels) or "
            "random_label_ce (one of them drawn each time, as the paper's code does), or list one label a video."
        )
    num_validated = len(num_labels.get("val", ()))
    if num_validated:
        num_test_views = data_of(config).test_views("val").num_test_views
        # The evaluated list decides which metrics exist: without a video of several labels, softmax gives no gap.
        for several in {several_labels, bool((num_labels["val"] > 1).any())}:
            scored_list = ScoredList(num_validated, num_classes, num_test_views, several, scores_of(config))
            check_selection_metric(config.training.selection_metric, scored_list)
