"""Describes the test protocol of an evaluation: as a sentence, and in the name of its result file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dali_pipes.atomic_files import atomic_write_text
from reskd.experiment.config import ExperimentConfig, ViewName
from reskd.experiment.data import data_of
from reskd.experiment.networks import view_of


def describe_protocol(config: ExperimentConfig, which: ViewName, precision: str | None = None) -> str:
    """The protocol of reskd evaluate in one sentence; ``precision``: what "auto" stood for, if the config has it."""
    return f"{data_of(config).describe_protocol(view_of(config, which))}, {precision or config.training.precision}"


def write_evaluation(result: Mapping[str, Any], folder: Path) -> Path:
    """Write the result to ``evaluation_<split>_<which>_<checkpoint>[_<views>].json`` and return the path."""
    parts = ("evaluation", result["split"], result["which"], Path(result["checkpoint"]).stem)
    path = folder / f"{'_'.join(parts)}{_views_suffix(result['views'])}.json"
    atomic_write_text(path, json.dumps(result, indent=2) + "\n")
    return path


def _views_suffix(views: Mapping[str, Any]) -> str:
    """``_10x3`` or ``_10x3_logits``, for example: results under several protocols get files of their own.

    So does one of other frames or sizes than those of the training, by a hash: ``_other-3fa2c1``.
    """
    other = f"_other-{views['other']}" if "other" in views else ""
    if views["clips"] * views["crops"] == 1:
        return other
    return f"_{views['clips']}x{views['crops']}" + ("_logits" if views["average"] == "logits" else "") + other
