"""The order of faults: what the user mistyped before what follows from it."""

from __future__ import annotations

from typing import Any

import pytest

from reskd.experiment.config import parse_config

GOOD: dict[str, Any] = {
    "name": "x",
    "data": {"root": "d", "train": "t.csv", "views": {"teacher": {"size": 64}, "student": {"size": 32}}},
    "student": {"backbone": "resnet18"},
    "optimizer": {"lr": 0.1},
    "training": {"epochs": 1, "global_batch_size": 8},
}


def _faults(**changes: Any) -> list[str]:
    tree = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    with pytest.raises(ValueError) as caught:
        parse_config(tree)
    return [line.removeprefix("config: ") for line in str(caught.value).splitlines()]


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"optimizer": {"lrr": 1}}, ["unknown key optimizer.lrr; did you mean lr?"]),
        ({"optimizer": {"LR": 1}}, ["unknown key optimizer.LR; did you mean lr?"]),
        ({"optimizer": None, "optimiser": {}}, ["unknown key optimiser; did you mean optimizer?"]),
        ({"stgaes": {}}, ["unknown key stgaes; did you mean stages?"]),
        (
            {"student": {"backbon": "resnet18"}, "training": {"epoch": 1, "global_batch_size": "x"}},
            [
                "unknown key student.backbon; did you mean backbone?",
                "unknown key training.epoch; did you mean epochs?",
                "training.global_batch_size: should be a valid integer, found 'x'.",
            ],
        ),
        (
            {"teacher": {"model": {"backbon": "resnet18"}}, "los": {"pixel": {"alpha": 1}}},
            [
                "unknown key teacher.model.backbon; did you mean backbone?",
                "unknown key los; did you mean loss?",
                "teacher.batch_norm: expected a value, found none; it has no default.",
            ],
        ),
    ],
)
def test_a_misspelt_key_comes_first_and_is_not_also_missing(changes: dict[str, Any], faults: list[str]) -> None:
    assert _faults(**changes) == faults


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"student": {"backbone": "resnet18", "famly": "tsm", "shift_divisor": 4}},
            "unknown key student.famly; did you mean family?",
        ),
        (
            {"student": {"backbone": "resnet18", "family": "tsmm"}},
            "student.family: expected one of tsn, tsm, slow_only, swin, aggregated, python, features, found 'tsmm'; "
            "did you mean tsm?",
        ),
        ({"data": {**GOOD["data"], "kind": 3}}, "data.kind: expected one of clips, features, found 3."),
        ({"data": {**GOOD["data"], "knd": "features", "groups": {}}}, "unknown key data.knd; did you mean kind?"),
        ({"data": {**GOOD["data"], "groups": {}}}, "unknown key data.groups; it belongs to kind features."),
        (
            {"data": {**GOOD["data"], "storage": {"kind": "shard"}}},
            "data.storage.kind: expected one of videos, frames, shards, found 'shard'; did you mean shards?",
        ),
        (
            {"data": {**GOOD["data"], "sampling": {"frames": {"kind": "segments", "strid": 2}}}},
            "unknown key data.sampling.frames.strid; did you mean stride, which belongs to kind dense?",
        ),
        (
            {"data": {**GOOD["data"], "sampling": {"crop": {"knd": "center"}}}},
            "unknown key data.sampling.crop.knd; did you mean kind?",
        ),
        (
            {"data": {**GOOD["data"], "sampling": {"crop": {"scales": [1.0]}}}},
            "data.sampling.crop.kind: expected a value, found none; it says which settings this group has.",
        ),
    ],
)
def test_of_a_wrong_family_or_kind_nothing_follows(changes: dict[str, Any], fault: str) -> None:
    assert _faults(**changes) == [fault]
