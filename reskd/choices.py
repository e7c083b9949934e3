"""Closed choices shared by configs, command lines and code. Standard library only, so that parsers start at once."""

from __future__ import annotations

from typing import Literal

PrecisionChoice = Literal["fp32", "bf16", "fp16"]  # training/precision.py
PrecisionSetting = Literal["auto", "fp32", "bf16", "fp16"]
ExportFormat = Literal["onnx", "torch_export", "safetensors"]  # inference/export.py
OnnxPrecision = Literal["fp32", "fp16", "int8"]  # inference/deployment/lower_precision.py
ThroughputMode = Literal["eager", "compile", "export"]  # profiling/throughput.py
