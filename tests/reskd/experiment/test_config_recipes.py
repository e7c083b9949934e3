"""Recipes of training in a whole config: what is refused before a video is opened, and hashes that stay."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from reskd.experiment import lists
from reskd.experiment.clip_data import ListedLabels
from reskd.experiment.networks import check_networks
from reskd.experiment.provenance import _is_whole
from reskd.losses.task import weights_of_classes
from reskd.training.run_changes import why_fixed
from reskd.training.run_directory import config_hash, defining_settings
from tests.reskd.experiment.test_config import parse_config, tree

MIXING = {"mixing": {"mixup_alpha": 0.2}}


def with_training(**settings: Any) -> dict[str, Any]:
    return tree(training={"epochs": 1, "global_batch_size": 8, **settings})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            with_training(**MIXING) | {"loss": {"task": "random_label_ce"}, "teacher": None},
            "loss.task = random_label_ce takes whole labels only",
        ),
        (
            {"loss": {"class_weights": "balanced"}, "teacher": None},
            "each make up for rare classes, and both would do so twice",
        ),
    ],
)
def test_recipes_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    settings = tree() | {key: value for key, value in changes.items() if key in ("loss", "teacher", "training")}
    settings["data"] = settings["data"] | {"class_sampling": "balanced"}
    with pytest.raises(ValueError, match=message):
        parse_config(settings)


def test_layers_of_a_network_that_tells_none_are_refused_before_any_data(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm")
    from timm.models import resnet

    monkeypatch.delattr(resnet.ResNet, "group_matcher")
    settings = tree(student={"backbone": "timm/resnet18"}, optimizer={"lr": 0.1, "layer_decay": 0.8})
    with pytest.raises(ValueError, match="timm/resnet18: expected a network whose layers timm tells"):
        check_networks(parse_config(settings))


@pytest.mark.parametrize(
    ("settings", "num_val", "message"),
    [
        (with_training(early_stopping={"patience": 2}), 0, "training.early_stopping watches the validation videos: "),
        (tree(loss={"pixel": {"alpha": 1}, "class_weights": [1.0]}), 2, "expected 2 weights, one a class in order"),
        (tree(loss={"pixel": {"alpha": 1}, "class_weights": {"jmp": 1}}), 2, "did you mean 'jump'"),
    ],
)
def test_lists_that_do_not_fit_a_recipe_are_refused_before_any_video_is_opened(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], num_val: int, message: str
) -> None:
    listed = ListedLabels({"train": np.ones(4, int), "val": np.ones(num_val, int)}, ("jump", "run"))
    data = SimpleNamespace(
        listed_labels=lambda seed: listed, test_views=lambda split: SimpleNamespace(num_test_views=1)
    )
    monkeypatch.setattr(lists, "data_of", lambda config: data)
    monkeypatch.setattr(lists, "build_manifests", lambda *_, **__: pytest.fail("a video was opened"))
    with pytest.raises(ValueError, match=message):
        lists.build_training_lists(parse_config(settings), world=SimpleNamespace())  # type: ignore[arg-type]


def test_balanced_sampling_of_several_labels_is_refused() -> None:
    settings = tree(loss={"task": "sigmoid_bce"}, teacher=None)
    settings["data"] = settings["data"] | {
        "class_sampling": "balanced",
        "views": {"student": {"size": 32, "source": "decoded"}},
    }
    with pytest.raises(ValueError, match="data.class_sampling = balanced reads each class equally often, but 1 of 3"):
        lists.check_labels(parse_config(settings), {"train": np.array([1, 2, 1])}, num_classes=2)


def test_recipes_that_are_off_leave_the_hash_of_a_run_as_it_was() -> None:
    plain = defining_settings(parse_config(tree()).resolved())
    new = ("mixing", "ema", "early_stopping", "label_smoothing", "class_weights", "class_sampling", "layer_decay")
    assert not [key for key in plain if key.endswith((*new, "activation_checkpointing"))]
    on = parse_config(with_training(**MIXING))
    assert config_hash(on.resolved()) != config_hash(parse_config(tree()).resolved())
    less_memory = parse_config(tree(student={"backbone": "resnet18", "activation_checkpointing": True}))
    assert config_hash(less_memory.resolved()) == config_hash(parse_config(tree()).resolved())


def test_a_started_run_may_get_more_patience_and_no_other_recipe() -> None:
    assert why_fixed("training.early_stopping.patience", 2, 9) is None
    assert why_fixed("training.early_stopping.patience", None, 9) == "it counts the validations from the beginning"
    assert why_fixed("training.early_stopping", None, None) is not None
    for key in ("training.ema.decay", "training.mixing.mixup_alpha", "optimizer.layer_decay", "loss.label_smoothing"):
        assert why_fixed(key, 0.1, 0.2) is not None


def test_a_run_that_ended_early_is_done_until_it_gets_more_patience() -> None:
    config = parse_config(with_training(early_stopping={"patience": 2})).resolved()
    state: dict[str, Any] = {"num_steps": 5, "total_steps": 9, "config": config}
    assert not _is_whole(state)
    state["early_stopping"] = {"reference": 0.5, "num_waited": 2}
    assert _is_whole(state)
    state["config"] = parse_config(with_training(early_stopping={"patience": 3})).resolved()
    assert not _is_whole(state)


def test_classes_of_a_resolved_config_are_read_back() -> None:
    for setting in ("balanced", [1.0, 2.0], {"run": 2.0}):
        config = parse_config(tree(loss={"pixel": {"alpha": 1}, "class_weights": setting}))
        again = parse_config(config.resolved())
        assert again == config
        assert weights_of_classes(again.loss.class_weights, [1, 3], ["jump", "run"]) is not None
