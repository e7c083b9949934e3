"""Reads weight files, of torch and of safetensors, without running any code in them.

Note [Nothing is run]
torch.load(weights_only=True) builds tensors and plain values and refuses everything else. Checkpoints that mmengine
writes while training also hold its log: HistoryBuffer objects, NumPy scalars and, through getattr, methods; those of
timm's training script hold its arguments, a Namespace. While a file is read, these few names stand for ``_Skipped``,
which takes any arguments and keeps nothing. So log and arguments are dropped, and even "getattr" calls nothing. Every
other name is still refused.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dali_pipes.atomic_files import atomic_write_bytes
from reskd.models.weights.torch_digest import find_damage

State = Mapping[str, Tensor]

_SAFETENSORS = ".safetensors"
_NO_DIGEST = ""  # of files of other programs, and of earlier versions
_NAMES_SKIPPED = (
    "argparse.Namespace",  # the arguments of timm's training script
    "mmengine.logging.history_buffer.HistoryBuffer",
    "builtins.getattr",
    "numpy.dtype",
    "numpy.ndarray",
    "numpy.core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
)


class _Skipped:
    """See Note [Nothing is run]."""

    def __init__(self, *arguments: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


@dataclass(frozen=True)
class WeightFile:
    """The contents of a weight file.

    Attributes:
        source: the file, for messages.
        tensors: under the file's own names.
        settings: of the recognizer, if the file is a checkpoint of ours or was exported from one.
        class_names: likewise.
    """

    source: str
    tensors: State
    settings: Mapping[str, Any] | None = None
    class_names: tuple[str, ...] | None = None


def read_weight_file(path: Path) -> WeightFile:
    """The weights in a .safetensors file, or in one of torch.save: a checkpoint (ours, mmaction2's, timm's) or tensors.

    Raises:
        FileNotFoundError, OSError: no such file; no permission to read it.
        ValueError: it is damaged, would run code, or holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected a file of weights at {path}, found none; check the path.")
    if path.suffix == _SAFETENSORS:
        return _read_safetensors(path)
    damage = find_damage(path)
    if damage is not None:
        raise ValueError(
            f"{path}: expected a file as torch.save wrote it, found one that {damage}; copy it again, or give another."
        )
    content = _read_torch(path)
    config = content.get("config")
    settings = config.get("student") if isinstance(config, Mapping) else None
    names = content.get("class_names")
    key, tensors = _weights_in(content)
    if not tensors or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in tensors.items()):
        raise ValueError(
            f"{path}: expected a checkpoint of ours (with a student in it), one of mmaction2 or timm (with a "
            f"state_dict) or a state dict, found a file with {sorted(map(str, tensors))[:5]}; give another file."
        )
    return WeightFile(
        f"{path}, averaged (state_dict_ema)" if key == "state_dict_ema" else str(path),
        tensors,
        settings if isinstance(settings, Mapping) else None,
        tuple(map(str, names)) if isinstance(names, Sequence) else None,
    )


def _weights_in(content: Mapping[str, Any]) -> tuple[str, Mapping[Any, Any]]:
    """The key of the weights, "" if they are the whole file, and the weights.

    timm's training script writes its averaged weights beside the last ones; as timm does, we take them.
    """
    for key in ("student", "state_dict_ema", "state_dict"):
        found = content.get(key)
        if isinstance(found, Mapping) and found:
            return key, found
    return "", content


def write_safetensors(
    path: Path, tensors: State, *, settings: Mapping[str, Any], class_names: Sequence[str] | None
) -> None:
    """Write a recognizer atomically to ``path``, for ``read_weight_file``.

    Args:
        tensors: the recognizer's state dict, on any device, in any memory format.
        settings: the recognizer's config as plain values.
    """
    from safetensors.torch import save

    metadata = {"format": "pt", "settings": json.dumps(settings)}
    if class_names is not None:
        metadata["class_names"] = json.dumps(list(class_names))
    # The format has neither memory formats nor tensors that share memory.
    plain = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    metadata["digest"] = _digest(plain, metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    # safetensors' own save_file makes files that only their owner can read.
    atomic_write_bytes(path, save(plain, metadata))


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """sha256 of contiguous tensors and the other metadata, in the order of their names."""
    digest = hashlib.sha256(json.dumps({**metadata, "digest": ""}, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _read_torch(path: Path) -> Mapping[str, Any]:
    try:
        # Memory-mapped: callers use only a checkpoint's weights, or only its class names.
        with torch.serialization.safe_globals([(_Skipped, name) for name in _NAMES_SKIPPED]):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except PermissionError:
        raise
    except Exception as error:
        raise ValueError(
            f"{path}: expected a file of tensors and plain values written by torch.save, found one that "
            f"{why_unread(error)}; give another file, or write it again as a state dict."
        ) from error
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{path}: expected a dictionary of tensors, found {type(content).__name__}; give a state dict."
        )
    return content


def _read_safetensors(path: Path) -> WeightFile:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it has no iterator
            metadata = file.metadata() or {}
        if metadata.get("digest", _NO_DIGEST) not in (_NO_DIGEST, _digest(tensors, metadata)):
            raise ValueError("its digest is another one")
        settings, class_names = (json.loads(metadata.get(key, "null")) for key in ("settings", "class_names"))
        if not isinstance(settings, dict | None) or not isinstance(class_names, list | None):
            raise ValueError("its settings or class names have the wrong type")
    except PermissionError:
        raise
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(
            f"{path}: expected a safetensors file, found one that cannot be read ({_first_line(error)}); copy it again."
        ) from error
    if not tensors:
        raise ValueError(f"{path}: expected tensors, found none; give another file.")
    return WeightFile(str(path), tensors, settings, tuple(map(str, class_names)) if class_names else None)


def why_unread(error: Exception) -> str:
    """Why torch did not read a file, in our words, as torch's own message advises running the code in it."""
    text = str(error)
    refused = re.search(r"GLOBAL (\S+)", text)
    if refused:
        return f"asks for {refused[1]}, which is code and was not run"
    if isinstance(error, EOFError) or re.search(r"zip archive|PytorchStreamReader|unexpected EOF|truncated", text):
        return f"is cut short or damaged ({_first_line(error)})"
    if "weights_only" in text:  # torch's message then advises loading it with its code
        return "holds more than tensors and plain values; it was not read"
    return f"cannot be read ({_first_line(error)})"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
