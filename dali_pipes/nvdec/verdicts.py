"""Which codecs ``reskd gpu-check`` found right on this machine's GPUs, and how fast, kept from run to run.

A verdict or rate holds for a GPU, its driver and a version of DALI; after a change of any of them it is not believed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from dali_pipes.atomic_files import atomic_write_text
from dali_pipes.json_files import object_in
from dali_pipes.nvdec.abilities import Nvdec
from dali_pipes.nvdec.driver import ask_driver, name_of_gpu

_DALI_PACKAGES = ("nvidia-dali-cuda130", "nvidia-dali-cuda120")


def verdicts_file() -> Path:
    return Path.home() / ".cache" / "reskd" / "nvdec.json"


def rates_file() -> Path:
    return verdicts_file().with_name("nvdec_rates.json")


def keep_verdicts(gpu: str, right: Mapping[str, bool], *, file: Path | None = None) -> None:
    """Remember which codecs were decoded right; verdicts of other codecs and other GPUs stay.

    Args:
        gpu: as ``name_of_gpu`` says.
        right: FFmpeg's name of a codec -> whether all frames of all its test videos were right.

    Raises:
        OSError: the file cannot be written.
    """
    _keep(file or verdicts_file(), gpu, right)


def keep_rates(gpu: str, megapixels_per_s: Mapping[str, float], *, file: Path | None = None) -> None:
    """Remember how many megapixels of each codec the GPU's decoder decodes a second; as ``keep_verdicts``."""
    _keep(file or rates_file(), gpu, megapixels_per_s)


def kept_rates(gpu: str, *, file: Path | None = None) -> dict[str, float]:
    """Codec -> decoded megapixels/s of such a GPU; empty without a readable file."""
    found = _kept(file or rates_file(), gpu)
    return {codec: rate for codec, rate in found.items() if isinstance(rate, float) and rate > 0}


def kept_verdicts(gpu: str, *, file: Path | None = None) -> dict[str, bool]:
    """Codec -> whether it was decoded right on such a GPU; empty without a readable file."""
    found = _kept(file or verdicts_file(), gpu)
    return {codec: right for codec, right in found.items() if isinstance(right, bool)}


def nvdec_of(device_index: int) -> Nvdec:
    """What the decoder of this machine's GPU can do, and what was found on it."""
    verdicts = kept_verdicts(name_of_gpu(device_index))
    proven = frozenset(codec for codec, right in verdicts.items() if right)
    return replace(ask_driver(device_index), proven=proven, wrong=frozenset(verdicts) - proven)


def _keep(file: Path, gpu: str, values: Mapping[str, bool] | Mapping[str, float]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    known = object_in(file)
    known[_key(gpu)] = (_kept(file, gpu) if gpu else {}) | dict(values)
    atomic_write_text(file, json.dumps(known, indent=2, sort_keys=True) + "\n")


def _kept(file: Path, gpu: str) -> dict[str, object]:
    values = object_in(file).get(_key(gpu), {})
    return values if gpu and isinstance(values, dict) else {}


def _key(gpu: str) -> str:
    return f"{gpu}, {_dali()}"


def _dali() -> str:
    for package in _DALI_PACKAGES:
        try:
            return f"DALI {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            continue
    return "DALI"
