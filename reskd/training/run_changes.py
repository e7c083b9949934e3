"""Settings that --set changes in a started run: which ones, and the record of them, ``changes.jsonl``.

A later start of the run without --set finds the record and goes on under the changed settings, whatever value the
config file has, the old or the new one.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dali_pipes.atomic_files import atomic_write_text
from dali_pipes.json_files import parse_json
from dali_pipes.regular_files import file_is_there

# Settings that a started run may change by --set: neither its clips nor its networks depend on them.
_CHANGEABLE = (
    "device",
    "optimizer.lr",
    "optimizer.momentum",
    "optimizer.nesterov",
    "optimizer.betas",
    "optimizer.weight_decay",
    "optimizer.bias_lr_factor",
    "schedule.",
    "loss.task_weight",
    "loss.pixel.alpha",
    "loss.pixel.backend",
    "loss.logit_map.alpha",
    "loss.logit_map.temperature",
    "loss.clip.alpha",
    "loss.clip.temperature",
    "loss.frame.alpha",
    "loss.frame.temperature",
    "loss.embedding.alpha",
    "loss.intermediate.alpha",
    "loss.prediction.alpha",
    "training.epochs",
    "training.max_clips_per_pass",
    "training.precision",
    "training.clip_norm",
    "training.evaluate_every_epochs",
    "training.keep_every_epochs",
    "training.deterministic",
    "runtime.compile",
    "runtime.cuda_graphs",
    "runtime.tf32",
)
# Why other settings stay, by the start of their key.
_FIXED = {
    "data.": "it decides which clips the run sees",
    "seed": "the order of the clips and the initial weights follow from it",
    "training.global_batch_size": "it decides which clips a step sees",
    "training.selection_metric": "best.pt was chosen by the other metric",
    "training.mixing": "it decides what the clips of a step look like",
    "training.early_stopping": "it counts the validations from the beginning",
    "training.ema": "the average of the weights began with the run",
    "student.": "it describes the networks",
    "teacher.": "it describes the networks",
    "loss.": "the loss would have other terms or weights of its own",
    "optimizer.": "the optimizer's state in the checkpoint is of the other kind",
}


def why_fixed(key: str, old: Any, new: Any) -> str | None:
    """Why a started run cannot change this setting, as the end of a sentence; None if it can."""
    if key == "optimizer.momentum" and not (old and new):
        return _FIXED["optimizer."]
    if key.endswith(".alpha") and "auto" in (old, new):
        return "auto measures the weight in the first steps of a run"
    if any(key == one or (one[-1] == "." and key.startswith(one)) for one in _CHANGEABLE):
        return None
    if key.startswith("training.early_stopping.") and None not in (old, new):
        return None
    return next((why for start, why in _FIXED.items() if key.startswith(start)), "it is part of what the run is")


class Change(NamedTuple):
    """A setting that --set changed: from the step after ``step``, it has its new value."""

    step: int
    key: str
    old: Any
    new: Any


def read_changes(path: Path) -> list[Change]:
    """The changes of a run in the order in which they were made; empty without the file.

    Raises:
        ValueError: the file is damaged.
    """
    advice = "copy it again, or delete it and give the changed settings on the command line"
    if not file_is_there(path, "the settings that --set changed", advice=advice):
        return []
    try:
        lines = [parse_json(line) for line in path.read_text().splitlines()]
        return [Change(**{name: line[name] for name in Change._fields}) for line in lines]
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{path}: expected a JSON object with step, key, old and new on each line, found something else; {advice}."
        ) from None


def changed(resolved: Mapping[str, Any], changes: Sequence[Change]) -> dict[str, Any]:
    """``resolved`` with the last value of each setting that had one of its values of before."""
    values: dict[str, list[Any]] = {}
    for change in changes:
        values.setdefault(change.key, [change.old]).append(change.new)
    tree = copy.deepcopy(dict(resolved))
    for key, (*earlier, last) in values.items():
        node = _group(tree, key)
        name = key.rpartition(".")[2]
        if name in node and node[name] in earlier:
            node[name] = last
    return tree


def set_value(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set ``a.b`` in nested settings."""
    _group(tree, key)[key.rpartition(".")[2]] = value


def _group(tree: dict[str, Any], key: str) -> dict[str, Any]:
    """The settings beside ``a.b``, those of the group ``a``; an empty group if there is none."""
    for name in key.split(".")[:-1]:
        tree = tree.get(name) or {}
    return tree


def write_changes(path: Path, changes: Sequence[Change]) -> None:
    """Replace the record by all ``changes``, if there are any."""
    if changes:
        atomic_write_text(path, "".join(json.dumps(change._asdict()) + "\n" for change in changes))


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``{"a": {"b": 1}}`` -> ``("a.b", 1)``."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
