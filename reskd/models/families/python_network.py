"""The contract between a network of the user's and this program: how it is made, what it takes and returns.

Note [What a network returns]
Class scores alone, a tensor (N, K), or scores and features: a ``RecognizerOutput``, a mapping, or an object with
attributes, such as Hugging Face's outputs. Its parts are

    logits      (N, K); (B, K) for a network that takes single frames
    features    the last feature map, for loss.pixel; optional
    embedding   (N, E), for loss.embedding; optional

Anything else in it is left alone. The setting ``features`` names a module whose output is the map in place of this.

Shape letters: N clips, T frames, B = N * T, C = 3 colors, D feature channels, H W heights and widths, K classes.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from reskd.extensions.locate import make
from reskd.models.config import network_name
from reskd.models.python_config import FeatureLayout, PythonConfig
from reskd.outputs import RecognizerOutput

_TO_NTHWD: Mapping[FeatureLayout, tuple[int, ...]] = {
    "NDTHW": (0, 2, 3, 4, 1),
    "NTDHW": (0, 1, 3, 4, 2),
    "NTHWD": (0, 1, 2, 3, 4),
    "BDHW": (0, 1, 3, 4, 2),  # once B is (N, T)
    "BHWD": (0, 1, 2, 3, 4),
}
_INPUT_ORDERS = {"NCTHW": (0, 4, 1, 2, 3), "NTCHW": (0, 1, 4, 2, 3)}  # of N, T, H, W, C


class ContractError(ValueError):
    """A network returned something else than Note [What a network returns] says."""


class VideoNetwork(Protocol):
    """What ``build(num_classes=K, **arguments)`` returns: a torch.nn.Module that is called like this."""

    def __call__(self, pictures: Tensor) -> Any:
        """Scores, or scores and features: see Note [What a network returns].

        Args:
            pictures: (pixel - pixel_mean) / pixel_std in the order of ``input``; fp32, or autocast's dtype.
        """


class Answer(NamedTuple):
    """As ``RecognizerOutput``; scores are (B, K) for a network of single frames."""

    logits: Tensor
    features_NTDHW: Tensor | None
    embedding_NE: Tensor | None


def build_network(config: PythonConfig, num_classes: int) -> nn.Module:
    """The user's network, on the CPU also under another default device, as much code cannot run on the meta device.

    Raises:
        ValueError: the function is missing, fails, or returns something else.
    """
    with torch.device("cpu"), warnings.catch_warnings():
        network = make(config.build, "network", key="build", arguments=config.arguments, num_classes=num_classes)
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"build: expected {network_name(config)} to return a torch.nn.Module, found {_kind(network)}; return the "
            "network itself."
        )
    if not any(True for _ in network.parameters()):
        raise ValueError(f"build: expected a network with parameters, found none in {network_name(config)}.")
    return network


def find_head(network: nn.Module, config: PythonConfig, num_classes: int) -> str | None:
    """The name of the last layer; None if it cannot be told.

    Raises:
        ValueError: ``config.head`` or ``config.features`` names no module.
    """
    modules = dict(network.named_modules())
    for key, name in (("head", config.head), ("features", config.features)):
        if name is not None and name not in modules:
            inner = [own for own in modules if own]
            shown = ", ".join(own for own in inner if own.count(".") == 0)
            raise ValueError(
                f"{key}: expected the name of a module of {network_name(config)}, found {name!r}; its "
                f"outermost are {shown[:300]}."
            )
    if config.head is not None:
        return config.head
    sizes = {
        name: getattr(module, "out_features", getattr(module, "out_channels", None)) for name, module in modules.items()
    }
    last = [name for name, size in sizes.items() if size == num_classes and name]
    return last[-1] if last else None


def arranged(pictures_NTHWC: Tensor, config: PythonConfig) -> Tensor:
    """The pictures in the order that the network takes; a view of the same memory."""
    if config.input == "BCHW":
        return pictures_NTHWC.flatten(0, 1).permute(0, 3, 1, 2)
    return pictures_NTHWC.permute(_INPUT_ORDERS[config.input])


def answer_of(returned: Any, captured: Any, config: PythonConfig, num_frames: int) -> Answer:
    """The parts of what a network returned.

    Args:
        captured: the output of the module ``config.features``; None without one.
        num_frames: T of the clips.

    Raises:
        ContractError: there are no scores in it; a part has another number of dimensions.
    """
    logits = returned if isinstance(returned, Tensor) else _part(returned, "logits")
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        found = _kind(returned) if logits is None else _kind(logits)
        raise ContractError(
            f"expected {network_name(config)} to return class scores (N, K), alone or as logits, found {found}; "
            "docs/extending.md says what it may return."
        )
    features = captured if config.features is not None else _part(returned, "features")
    embedding = _part(returned, "embedding")
    if features is not None:
        features = _map_of(features, config, num_frames)
    if embedding is not None and (not isinstance(embedding, Tensor) or embedding.ndim != 2):
        raise ContractError(f"expected the embedding of {network_name(config)} as (N, E), found {_kind(embedding)}.")
    return Answer(logits, features, embedding)


def _part(returned: Any, name: str) -> Any:
    own = {"features": "features_NTDHW", "embedding": "embedding_NE", "logits": "logits_NK"}
    if isinstance(returned, RecognizerOutput):
        return getattr(returned, own[name])
    if isinstance(returned, Mapping):
        return returned.get(name)
    return None if isinstance(returned, Tensor) else getattr(returned, name, None)


def _map_of(features: Any, config: PythonConfig, num_frames: int) -> Tensor:
    """features_NTDHW; ``flatten(0, 1)`` is channels-last, which copies a map that is not."""
    layout = config.map_layout
    if not isinstance(features, Tensor) or features.ndim != len(layout):
        raise ContractError(
            f"expected the feature map of {network_name(config)} as {layout} (features_layout), found "
            f"{_kind(features)}; set features_layout to its order, or return another."
        )
    if layout[0] == "B":
        features = features.unflatten(0, (-1, num_frames))
    maps_NTHWD = features.permute(_TO_NTHWD[layout]).contiguous()
    return maps_NTHWD.permute(0, 1, 4, 2, 3)


def probe(recognizer: nn.Module, sizes: tuple[int, ...]) -> RecognizerOutput | None:
    """What a recognizer in eval mode returns for clips of ``sizes``, (N, T, H, W, 3).

    It is asked on the meta device, which computes shapes only, and computed for real where the user's code cannot run
    there. None: neither is possible, as the weights themselves are on the meta device.

    Raises:
        ContractError: as ``answer_of``.
        Exception: whatever the user's code raises.
    """
    device = next(recognizer.parameters()).device
    with torch.no_grad(), torch.random.fork_rng():
        with contextlib.suppress(Exception):
            return _call_on_meta(recognizer, sizes)
        if device.type == "meta":
            return None
        output: RecognizerOutput = recognizer(torch.zeros(sizes, dtype=torch.uint8, device=device))
    return output


def _call_on_meta(recognizer: nn.Module, sizes: tuple[int, ...]) -> RecognizerOutput:
    tensors = {name: value.to("meta") for name, value in (*recognizer.named_parameters(), *recognizer.named_buffers())}
    data = torch.empty(sizes, dtype=torch.uint8, device="meta")
    with torch.device("meta"), warnings.catch_warnings():
        output: RecognizerOutput = torch.func.functional_call(recognizer, tensors, (data,))
    return output


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"{type(value).__name__}"
