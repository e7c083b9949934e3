"""Loads a recognizer's weights, from a torchvision name or from a file, of ours or of others.

files.py reads, names.py translates, fill.py fills and reports what happened to every tensor.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torchvision.models import WeightsEnum, get_model_weights

from reskd.models.config import FeaturesConfig
from reskd.models.python_config import PythonConfig
from reskd.models.recognizer import Recognizer
from reskd.models.timm_catalog import HUB, PACKAGE, TIMM, is_timm, pixel_statistics, shipped_file
from reskd.models.weights.architectures import describe
from reskd.models.weights.files import State, WeightFile, read_weight_file
from reskd.models.weights.fill import fill, fit
from reskd.models.weights.own_names import fit_own_names
from reskd.models.weights.report import WeightReport
from reskd.models.weights.timm_hub import state_from_hub

log = logging.getLogger(__name__)


def load_weights(model: Recognizer, weights: str) -> WeightReport | None:
    """Fill ``model`` in place, log one line, and return what happened to every tensor; None for "none".

    Args:
        model: its ``config.weights_head`` decides whether the head comes from the weights too.
        weights: "none" changes nothing; a torchvision name ("IMAGENET1K_V1"), also of a 3-D network's 2-D version; or
            the path of a checkpoint of ours, of mmaction2 or of the paper's code, or of a state dict of torchvision or
            timm; for a network of timm also "package" or "hub".

    Raises:
        FileNotFoundError, OSError: no such name or file; the download failed.
        ValueError: the file cannot be read, or does not fit. The model is then unchanged.
    """
    if weights == "none":
        return None
    backbone = None if isinstance(model.config, (FeaturesConfig, PythonConfig)) else model.config.backbone
    entries = _torchvision_weights(backbone)
    if weights in (PACKAGE, HUB) and backbone:
        file = _timm_weights(model, backbone, weights)
    elif weights in entries:
        assert backbone is not None
        preset = entries[weights].transforms()
        mean, std = ([round(255 * value, 3) for value in values] for values in (preset.mean, preset.std))
        _check_pixel_statistics(model, f"torchvision's {weights}", mean, std)
        file = WeightFile(f"torchvision's {weights}", _download(backbone, entries[weights]))
    elif Path(weights).is_file():
        file = read_weight_file(Path(weights))
    else:
        names = f"one of torchvision's names for {backbone} ({', '.join(entries)}), " if entries else ""
        names += "package, hub, " if backbone and is_timm(backbone) else ""
        raise FileNotFoundError(
            f"weights: expected 'none', {names}or the path of a file, found {weights!r}, which is neither; "
            "check the spelling."
        )
    report = fit_file(model, file)
    log.info("%s", report)
    return report


def fit_file(model: Recognizer, file: WeightFile) -> WeightReport:
    """Fill a network of any family: one of the user's code under its own names, else by the names of known layouts.

    Raises:
        ValueError: the file does not fit. The model is then unchanged.
    """
    return fit_own_names(model, file) if isinstance(model.config, PythonConfig) else fit(model, file)


def load_recognizer_state(model: Recognizer, state: State, *, source: str) -> None:
    """Fill the whole of ``model``, backbone and head, with the "student" of a checkpoint.

    Args:
        source: the origin of ``state``, for the message.

    Raises:
        ValueError: another architecture or number of classes. The model is then unchanged.
    """
    fill(model, state, source=source, found=describe(state))


def state_hash(state: nn.Module | State) -> str:
    """sha256 of the names, dtypes, shapes and bytes of a state dict, independent of memory format and device."""
    tensors = state.state_dict() if isinstance(state, nn.Module) else state
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        # reshape: a tensor without dimensions cannot be viewed as bytes.
        digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _torchvision_weights(backbone: str | None) -> dict[str, WeightsEnum]:
    """Name -> weights of ``backbone`` and, if it is 3-D, of its 2-D version, which can be inflated."""
    if backbone is None or is_timm(backbone):
        return {}
    kin = [backbone.replace("swin3d", "swin")] if backbone.startswith("swin3d") else []
    return {entry.name: entry for name in [*kin, backbone] for entry in get_model_weights(name)}


def _timm_weights(model: Recognizer, backbone: str, weights: str) -> WeightFile:
    """Of a package, or those that timm downloads and caches."""
    if not is_timm(backbone):
        raise ValueError(
            f"weights: expected a backbone of timm for {weights}, found {backbone}; set the backbone to timm/NAME, or "
            "weights to one of torchvision's names."
        )
    _check_pixel_statistics(model, f"the {weights}'s weights", *pixel_statistics(backbone, weights))
    if weights == HUB:
        return WeightFile(f"timm's {backbone.removeprefix(TIMM)}", state_from_hub(backbone))
    path, shipped = shipped_file(backbone)
    file = read_weight_file(path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != shipped.sha256:
        raise ValueError(f"{path}: expected the file of {shipped.distribution}, found another; install it again.")
    return replace(file, source=shipped.distribution)


def _check_pixel_statistics(model: Recognizer, source: str, mean: Sequence[float], std: Sequence[float]) -> None:
    """Args: statistics that the weights were trained with, in 0..255."""
    for key, theirs in (("pixel_mean", mean), ("pixel_std", std)):
        mine = getattr(model.config, key)
        if any(abs(a - b) > 0.01 for a, b in zip(theirs, mine, strict=True)):
            raise ValueError(
                f"weights: expected {key} {list(theirs)}, as {source} had in training, found {list(mine)}; change "
                f"{key} to that."
            )


def _download(backbone: str, entry: WeightsEnum) -> State:
    try:
        return entry.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise OSError(
            f"weights: expected to download {entry.name} of {backbone} from {entry.url}, found: {error}; check the "
            f"network, put that file into {folder}, or set weights to the path of a file."
        ) from error
