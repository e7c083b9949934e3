"""Where a recogniser's weights come from: torchvision's, a file of ours, or a bare torchvision state dict."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import get_model_weights

from reskd.models.backbones import CLASSIFIER_PREFIXES
from reskd.models.config import difference
from reskd.models.recognizer import Recognizer

State = Mapping[str, Tensor]

# (blocks of the four stages, has bottlenecks) -> name.
_RESNETS: dict[tuple[tuple[int, ...], bool], str] = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
    ((3, 4, 23, 3), True): "resnet101",
    ((3, 8, 36, 3), True): "resnet152",
}


def load_weights(model: Recognizer, weights: str) -> None:
    """Fill ``model`` in place.

    Args:
        weights: "none" changes nothing; a torchvision name ("IMAGENET1K_V1") fills the backbone; a path fills the
            whole model from a checkpoint of ours (its student), or the backbone from a torchvision state dict.

    Raises:
        FileNotFoundError, OSError: no such name or file; the download failed.
        ValueError: the file cannot be read, or holds another architecture. The model is then unchanged.
    """
    if weights == "none":
        return
    backbone = model.config.backbone
    names = [entry.name for entry in get_model_weights(backbone)]
    if weights in names:
        _fill(model.backbone, _without_classifier(_download(backbone, weights)), f"torchvision's {weights}", backbone)
    elif Path(weights).is_file():
        _load_file(model, Path(weights))
    else:
        raise FileNotFoundError(
            f"weights: expected 'none', one of torchvision's names for {backbone} ({', '.join(names)}), or the path of "
            f"a file, found {weights!r}, which is no such name and no such file; check the spelling."
        )


def load_recognizer_state(model: Recognizer, state: State, *, source: str) -> None:
    """Fill the whole of ``model``, backbone and head, with the "student" of a checkpoint.

    Args:
        source: where ``state`` comes from, for the message.

    Raises:
        ValueError: another architecture or number of classes. The model is then unchanged.
    """
    _fill(model, state, source, f"{model.config.backbone} with {model.num_classes} classes")


def state_hash(state: nn.Module | State) -> str:
    """sha256 over the names, dtypes, shapes and bytes of a state dict, the same for every memory format and device."""
    tensors = state.state_dict() if isinstance(state, nn.Module) else state
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        # reshape: a tensor without dimensions cannot be viewed as bytes.
        digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _download(backbone: str, name: str) -> State:
    entry = get_model_weights(backbone)[name]
    try:
        return entry.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise OSError(
            f"weights: expected to download {name} of {backbone} from {entry.url}, found: {error}; check the network, "
            f"or put that file into {folder}, or set weights to the path of a file."
        ) from error


def _load_file(model: Recognizer, path: Path) -> None:
    content = _read(path)
    if isinstance(content.get("student"), Mapping):
        _check_same_settings(model, content, path)
        load_recognizer_state(model, content["student"], source=str(path))
    elif content and all(isinstance(value, Tensor) for value in content.values()):
        _fill(model.backbone, _without_classifier(content), str(path), model.config.backbone)
    else:
        raise ValueError(
            f"{path}: expected a checkpoint of ours (with a student in it) or a torchvision state dict, found a file "
            f"with {sorted(map(str, content))[:5]}; give another file."
        )


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(
            f"{path}: expected a file of tensors and plain values written by torch.save, found one that cannot be read "
            f"({reason}); give another file, or write it again as a state dict."
        ) from error
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{path}: expected a dictionary of tensors, found {type(content).__name__}; give a state dict."
        )
    return content


def _check_same_settings(model: Recognizer, checkpoint: Mapping[str, Any], path: Path) -> None:
    """Strides and pixel statistics leave no trace in the weights, and change every answer."""
    config = checkpoint.get("config")
    theirs = config.get("student") if isinstance(config, Mapping) else None
    found_difference = difference(model.config, theirs) if isinstance(theirs, Mapping) else None
    if found_difference:
        key, mine, found = found_difference
        raise ValueError(
            f"{path}: expected weights trained with {key} {mine}, found {found}; "
            f"set {key} as the checkpoint has it, or give another file."
        )


def _without_classifier(state: State) -> State:
    return {name: value for name, value in state.items() if not name.startswith(CLASSIFIER_PREFIXES)}


def _fill(module: nn.Module, state: State, source: str, expected: str) -> None:
    mismatch = _first_mismatch(module.state_dict(), state)
    if mismatch:
        raise ValueError(
            f"{source}: expected weights of {expected}, found {_describe(state)}, first difference at {mismatch}; "
            "set the backbone and the classes to what the file holds, or give another file."
        )
    # Not strict: files from before torch 0.4.1 count no batches.
    module.load_state_dict(state, strict=False)


def _first_mismatch(expected: State, found: State) -> str | None:
    for name, tensor in expected.items():
        if name not in found:
            if name.endswith("num_batches_tracked"):
                continue
            return f"{name} (not in the file)"
        if found[name].shape != tensor.shape:
            return f"{name} ({tuple(found[name].shape)} in the file, {tuple(tensor.shape)} in the model)"
    extra = next((name for name in found if name not in expected), None)
    return f"{extra} (not in the model)" if extra else None


def _describe(state: State) -> str:
    """Which network a state dict is of, judged by its names: 'resnet18 with 10 classes'."""
    names = {name.removeprefix("backbone.") for name in state}
    blocks = tuple(len({name.split(".")[1] for name in names if name.startswith(f"layer{n}.")}) for n in range(1, 5))
    network = _RESNETS.get((blocks, "layer1.0.conv3.weight" in names))
    if network is None and "features.18.0.weight" in names:
        network = "mobilenet_v2"
    if network is None:
        return f"{len(state)} tensors of a network that is not known here (the first is {next(iter(state), 'none')})"
    head = state.get("head.weight")
    return network if head is None else f"{network} with {len(head)} classes"
