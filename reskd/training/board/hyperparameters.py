"""The tab "HParams": the settings that a user compares, beside the latest metrics of each run.

Note [Columns]
TensorBoard takes the columns of all runs from the first run that describes any, so every run describes the same ones.
They are the settings below. One that a run does not have, such as the weight of a term that is off, is an empty cell.
A metric is the last value of the curve of that name in the same run: nothing is written twice, and a run in progress
has its metrics too.

Note [A resumed run]
The description carries no step, so that resuming does not hide it. TensorBoard keeps the first one of a run. So a run
that goes on is one row, with the settings of its first start; changes.jsonl has those of --set.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

WORDS = (
    "student.family",
    "student.backbone",
    "student.weights",
    "data.views.student.size",
    "data.views.teacher.size",
    "teacher.stage",
    "teacher.update",
    "optimizer.name",
    "schedule.kind",
    "training.precision",
)
NUMBERS = (
    "seed",
    "data.sampling.num_frames",
    "student.dropout",
    *(f"loss.{term}.alpha" for term in ("pixel", "logit_map", "clip", "frame", "embedding", "prediction")),
    "loss.label_smoothing",
    "optimizer.lr",
    "optimizer.weight_decay",
    "optimizer.layer_decay",
    "schedule.warmup_epochs",
    "training.epochs",
    "training.global_batch_size",
    "training.clip_norm",
    "training.ema.decay",
    "training.mixing.mixup_alpha",
    "training.mixing.cutmix_alpha",
)
# TensorBoard puts columns that "differ" first and shows the first five until others are ticked.
_SHOWN_FIRST = ("data.views.student.size", "loss.pixel.alpha", "optimizer.lr", "student.backbone", "training.epochs")


def hyperparameters_of(settings: Mapping[str, Any]) -> dict[str, str | float]:
    """The cells of a run's row, by column.

    Args:
        settings: of the experiment, resolved and nested. An automatic weight is no number, so it has no cell.
    """
    found: dict[str, str | float] = {}
    for key in WORDS:
        value = _at(settings, key)
        if value is not None:
            found[key] = "x".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    for key in NUMBERS:
        value = _at(settings, key)
        if isinstance(value, int | float):
            found[key] = float(value)
    return found


def metrics_of(settings: Mapping[str, Any]) -> list[str]:
    """The metrics of the table: first the one that chooses best.pt."""
    chosen = _at(settings, "training.selection_metric") or "top1"
    return [f"val/{chosen}", "train/top1", "loss/total", "train/epoch", "speed/clips_per_second"]


def run_begins(settings: Mapping[str, Any]) -> list[Any]:
    """Summaries to write, without a step, when a run begins or goes on: see the Notes."""
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    kinds = dict.fromkeys(WORDS, api_pb2.DATA_TYPE_STRING) | dict.fromkeys(NUMBERS, api_pb2.DATA_TYPE_FLOAT64)
    columns = api_pb2.Experiment(
        hparam_infos=[
            api_pb2.HParamInfo(name=key, type=kind, differs=key in _SHOWN_FIRST) for key, kind in kinds.items()
        ],
        metric_infos=[api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in metrics_of(settings)],
    )
    row = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
    for key, value in hyperparameters_of(settings).items():
        if isinstance(value, str):
            row.hparams[key].string_value = value
        else:
            row.hparams[key].number_value = value
    return [
        _summary(metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=columns)),
        _summary(metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=row)),
    ]


def run_is_done() -> Any:
    """The summary to write at the end of a training that reached its last step."""
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())
    return _summary(metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=end))


def _summary(tag: str, content: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata

    return Summary(value=[Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(content))])


def _at(settings: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key; None where a group on the way is off or absent."""
    value: Any = settings
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
