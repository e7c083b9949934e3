"""Loaders from one flat list of options, as most tests change one option at a time."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from dali_pipes.config import DataConfig
from dali_pipes.fault_log import LoaderLog
from dali_pipes.features.config import FeatureDataConfig
from dali_pipes.features.loader import FeatureLoader
from dali_pipes.features.manifest import FeatureManifest
from dali_pipes.loader.clip_loader import ClipLoader
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.sampling.order import ReadingOrder


def clip_loader(manifest: Manifest | Path, config: DataConfig, **options: Any) -> ClipLoader:
    """A ClipLoader; ``options`` are its own and the fields of its ReadingOrder and its LoaderLog."""
    return ClipLoader(manifest, config, **grouped(options))


def feature_loader(manifest: FeatureManifest, config: FeatureDataConfig, **options: Any) -> FeatureLoader:
    """As ``clip_loader``."""
    return FeatureLoader(manifest, config, **grouped(options))


def grouped(options: dict[str, Any]) -> dict[str, Any]:
    """``options`` with the fields of a ReadingOrder as ``order``, and those of a LoaderLog, if any, as ``log``."""
    of_order = {field.name for field in fields(ReadingOrder)} & set(options)
    of_log = set(LoaderLog._fields) & set(options)
    found = {name: value for name, value in options.items() if name not in of_order | of_log}
    found["order"] = ReadingOrder(**{name: options[name] for name in of_order})
    if of_log:
        found["log"] = LoaderLog(**{name: options[name] for name in of_log})
    return found
