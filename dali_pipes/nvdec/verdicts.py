"""Which codecs ``tools/gpu_check.py`` found right on this machine's GPUs, kept from run to run.

A verdict holds for a GPU, its driver and a version of DALI; after a change of any of them it is not believed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from dali_pipes.atomic_files import atomic_write_text
from dali_pipes.json_files import parse_json
from dali_pipes.nvdec.abilities import Nvdec
from dali_pipes.nvdec.driver import ask_driver, name_of_gpu

_DALI_PACKAGES = ("nvidia-dali-cuda130", "nvidia-dali-cuda120")


def verdicts_file() -> Path:
    return Path.home() / ".cache" / "reskd" / "nvdec.json"


def keep_verdicts(gpu: str, right: Mapping[str, bool], *, file: Path | None = None) -> None:
    """Remember which codecs were decoded right; verdicts of other codecs and other GPUs stay.

    Args:
        gpu: as ``name_of_gpu`` says.
        right: FFmpeg's name of a codec -> whether all frames of all its test videos were right.

    Raises:
        OSError: the file cannot be written.
    """
    file = file or verdicts_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    known, key = _read(file), _key(gpu)
    before = known.get(key)
    known[key] = (before if isinstance(before, dict) else {}) | dict(right)
    atomic_write_text(file, json.dumps(known, indent=2, sort_keys=True) + "\n")


def kept_verdicts(gpu: str, *, file: Path | None = None) -> dict[str, bool]:
    """Codec -> whether it was decoded right on such a GPU; empty without a readable file."""
    verdicts = _read(file or verdicts_file()).get(_key(gpu), {})
    if not gpu or not isinstance(verdicts, dict):
        return {}
    return {codec: right for codec, right in verdicts.items() if isinstance(right, bool)}


def nvdec_of(device_index: int) -> Nvdec:
    """What the decoder of this machine's GPU can do, and what was found on it."""
    verdicts = kept_verdicts(name_of_gpu(device_index))
    proven = frozenset(codec for codec, right in verdicts.items() if right)
    return replace(ask_driver(device_index), proven=proven, wrong=frozenset(verdicts) - proven)


def _read(file: Path) -> dict[str, object]:
    try:
        found = parse_json(file.read_bytes()) if file.is_file() else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _key(gpu: str) -> str:
    return f"{gpu}, {_dali()}"


def _dali() -> str:
    for package in _DALI_PACKAGES:
        try:
            return f"DALI {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            continue
    return "DALI"
