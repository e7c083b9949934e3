"""Closed choices shared by configs, command lines and code. Standard library only, so that parsers start at once."""

from __future__ import annotations

from typing import Literal

PrecisionChoice = Literal["fp32", "bf16", "fp16"]  # training/precision.py
PrecisionSetting = Literal["auto", "fp32", "bf16", "fp16"]
ExportFormat = Literal["onnx", "torch_export", "safetensors"]  # inference/export.py
OnnxPrecision = Literal["fp32", "fp16", "int8"]  # inference/deployment/lower_precision.py
ThroughputMode = Literal["eager", "compile", "export"]  # profiling/throughput.py
Reduction = Literal["sum", "mean"]  # losses/embedding.py
Distance = Literal["squared_error", "kl", "bernoulli_kl"]  # losses/prediction.py
TaskName = Literal["softmax_ce", "random_label_ce", "sigmoid_bce"]  # losses/task.py
ClassWeights = Literal["none", "balanced"] | tuple[float, ...] | dict[str, float]  # losses/task.py
TimeMatching = Literal["equal", "nearest", "interpolate"]  # losses/temporal_alignment.py
Backend = Literal["auto", "cuda", "cpu", "reference"]  # ops/dispatch.py
ScoreKind = Literal["softmax", "sigmoid"]  # the activation that logits were trained with: outputs.py
# All that an evaluation may give: evaluation/metrics.py, evaluation/youtube8m.py
METRIC_NAMES = (
    "top1",
    "top5",
    "mean_class_accuracy",
    "map",
    "map_all_classes",
    "map_top20",
    "map_top20_present",
    "log_loss",
    "gap",
    "hit1",
    "perr",
)
DeviceChoice = Literal["auto", "cpu", "cuda"]  # distributed.py
