"""The table of names that changed, against the settings that there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dali_pipes.config import LoaderConfig
from reskd.experiment.config import parse_config, recognizer_from
from reskd.experiment.config_files import apply_override, has_key
from reskd.experiment.renamed_keys import RENAMED_KEYS, RENAMED_VALUES, check_names_are_current
from reskd.losses.config import LossConfig
from reskd.models.config import AggregatedConfig, FeaturesConfig
from tests.reskd.experiment.test_config import tree

AGGREGATED = {"family": "aggregated", "backbone": "resnet18", "aggregator": {"kind": "mean"}}
NETWORK = {**AGGREGATED, "classifier": {"kind": "linear"}}


def experiment(*overrides: str) -> dict[str, Any]:
    settings = tree(student=dict(NETWORK), teacher={"model": dict(NETWORK), "batch_norm": "batch_stats"})
    for override in overrides:
        apply_override(settings, override)
    return settings


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.loader.way_in=dali", r"key data\.loader\.way_in; it was renamed to data\.loader\.decoder\.$"),
        (
            "data.loader.way_in=host",
            r"way_in; it was renamed to data\.loader\.decoder, and its value host to pyav\.$",
        ),
        ("data.loader.decoder=host", r"data\.loader\.decoder: should be .*, found 'host'; host was renamed to pyav\.$"),
        ("loss.code.alpha=1", r"unknown key loss\.code; it was renamed to loss\.embedding\.$"),
        (
            "student.normalise_frames=true",
            r"key student\.normalise_frames; it was renamed to student\.normalize_frames\.$",
        ),
        (
            "teacher.model.normalise_frames=true",
            r"teacher\.model\.normalise_frames; it was renamed to teacher\.model\.normalize_frames\.$",
        ),
    ],
)
def test_an_old_name_is_an_error_that_says_the_new_one(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_config(experiment(override))


def test_an_old_name_of_a_network_by_itself_is_told_as_it_is_written() -> None:
    with pytest.raises(ValueError, match=r"^--model: unknown key normalise_frames; it was renamed to normalize_frames"):
        recognizer_from({**NETWORK, "normalise_frames": True}, where="--model")


@pytest.mark.parametrize(
    "override",
    [
        "data.loader.decoder=pyav",
        "loss.embedding.alpha=1",
        "student.normalize_frames=true",
        "teacher.model.normalize_frames=true",
    ],
)
def test_the_new_names_are_known(override: str) -> None:
    config = parse_config(experiment(override, "teacher.model.weights=x.pt", "teacher.model.weights_head=keep"))
    assert has_key(config.resolved(), override.partition("=")[0].split("."))


def test_no_old_name_is_a_setting() -> None:
    fields = {*LoaderConfig.model_fields, *LossConfig.model_fields}
    fields |= {*AggregatedConfig.model_fields, *FeaturesConfig.model_fields}
    assert not {key.rpartition(".")[2] for key in RENAMED_KEYS} & fields
    assert {key.rpartition(".")[2] for key in RENAMED_KEYS.values()} <= fields
    assert {key for key, _ in RENAMED_VALUES} <= set(RENAMED_KEYS.values())


def test_a_run_of_an_earlier_version_is_refused_by_its_old_names() -> None:
    saved = {"data": {"loader": {"way_in": "auto"}}, "loss": {"code": None}, "teacher": None}
    now = {"data": {"loader": {"decoder": "auto"}}, "loss": {"embedding": None}, "teacher": None}
    with pytest.raises(ValueError, match=r"runs/x was written by an earlier version: data.loader.way_in was renamed to "
                       r"data.loader.decoder, loss.code was renamed to loss.embedding\. "):  # fmt: skip
        check_names_are_current(saved, now, Path("runs/x"))
    check_names_are_current(now, now, "runs/x")
