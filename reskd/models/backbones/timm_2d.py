"""timm's networks up to their last feature map, wrapped, not copied.

Note [Where a network ends]
timm's ``forward_features`` ends before pooling. What some networks do between pooling and classifier (MobileNetV3's
last convolution, ConvNeXt's norm) is not part of a feature map, so those layers are removed: DistributedDataParallel
refuses parameters without a gradient. Which ones they are is found with a backward pass on the meta device, which
computes shapes only.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from reskd.models.backbones.timm_strides import set_stage_strides
from reskd.models.timm_catalog import TIMM, timm_settings

# Networks of a fixed input size take other sizes with one of these; for the others nothing is needed.
_ANY_SIZE: tuple[dict[str, Any], ...] = ({}, {"dynamic_img_size": True}, {"strict_img_size": False})
_REDUCTION_OF_FIRST_STAGE = 4
_LEAST_HEIGHT, _LEAST_WIDTH = 96, 128  # of another size to try: as small as students see, and not square


class _Probe(NamedTuple):
    """What a network on the meta device tells.

    Attributes:
        options: of ``timm.create_model``, beside the name.
        feature_dim: D.
        layout: of the features: BCHW, BHWC, or BLC, tokens of which the first ``num_prefix_tokens`` have no position.
        unused: names of parameters after the last feature map.
    """

    options: dict[str, Any]
    feature_dim: int
    layout: str
    unused: tuple[str, ...]


class TimmBackbone(nn.Module):
    """images_BCHW -> features_BDhw, channels-last, with timm's parameter names under ``network.`` and random weights.

    Args:
        backbone: "timm/NAME", optionally with a tag.
        stage_strides: of stages that end at a quarter to a thirty-second of the picture; default: the network's.

    Attributes:
        name: of the backbone.
        feature_dim: D.
        input_size: height and width of the pictures that timm's weights were trained on.
        removed: names in the state dict of what timm has after the last feature map, without the classifier.

    Raises:
        ValueError: timm is not installed or knows no such network, or the network gives no feature map, or it takes
            pictures of one size only, or has no such stages.
    """

    def __init__(self, backbone: str, *, stage_strides: Sequence[int] | None = None) -> None:
        import timm

        super().__init__()
        self.name = backbone
        name, input_size = backbone.removeprefix(TIMM), timm_settings(backbone)["input_size"][1:]
        probe = _probe(name, tuple(input_size))
        self.network: Any = timm.create_model(name, num_classes=0, **probe.options)
        before = set(self.network.state_dict())
        _remove(self.network, probe.unused)
        if stage_strides is not None:
            set_stage_strides(self.network, backbone, stage_strides)
        self.removed = frozenset(before - set(self.network.state_dict()))
        self.feature_dim, self._layout = probe.feature_dim, probe.layout
        self.input_size: tuple[int, int] = tuple(input_size)
        self._num_prefix_tokens = _num_prefix_tokens(self.network)
        self._reduction = _reduction(self.network)

    @property
    def stage_ends(self) -> list[str]:
        """Names of the modules that end a stage, in order; empty if timm does not tell them.

        What is larger than a quarter of the picture's height belongs to the first stage, as a ResNet's stem does. Where
        nothing is reduced after the first layer (ViT), each block is a stage.
        """
        about = getattr(self.network, "feature_info", None)
        found = [(one["module"], one["reduction"]) for one in about] if isinstance(about, list) else []
        return [f"network.{name}" for name, reduction in found if reduction >= _REDUCTION_OF_FIRST_STAGE]

    def check_size(self, height: int, width: int) -> None:
        """Raises ValueError where the network cannot take pictures of this size; tried once on the meta device."""
        if torch.compiler.is_compiling() or (height, width) == self.input_size:
            return
        if reason := _why_not(self.name.removeprefix(TIMM), self.input_size, height, width):
            raise ValueError(
                f"frames: expected a size that {self.name} takes, found {height} x {width} ({reason}); choose another "
                "size, mostly a multiple of 32."
            )

    def forward(self, images_BCHW: Tensor) -> Tensor:
        features = self.network.forward_features(images_BCHW)
        if self._layout == "BLC":
            height, width = (size // self._reduction for size in images_BCHW.shape[2:])
            features = features[:, self._num_prefix_tokens :].unflatten(1, (height, width))
        if self._layout != "BCHW":
            features = features.permute(0, 3, 1, 2)
        result: Tensor = features.contiguous(memory_format=torch.channels_last)
        return result


@functools.cache  # teacher and student often have one network, and each start builds it several times
def _probe(name: str, input_size: tuple[int, int]) -> _Probe:
    reason = ""
    for options in _ANY_SIZE:
        try:
            return _probe_with(name, input_size, options)
        except _NoMapError as error:
            raise ValueError(f"{TIMM}{name}: expected a network with a feature map, found {error}.") from None
        except Exception as error:  # whatever a network raises for an option or a size that it does not take
            reason = reason or " ".join(str(error).split())[:200]
    raise ValueError(
        f"{TIMM}{name}: expected a network that takes pictures of any size, found one of "
        f"{input_size[0]} x {input_size[1]} only ({reason}); choose another network."
    )


class _NoMapError(Exception):
    pass


@functools.cache  # as above
def _why_not(name: str, input_size: tuple[int, int], height: int, width: int) -> str:
    """Why a network gives no map of pictures of this size; empty if it does."""
    import timm

    try:
        with torch.device("meta"), torch.no_grad():
            network: Any = timm.create_model(name, num_classes=0, **_probe(name, input_size).options).eval()
            _layout_of(network.forward_features(torch.empty(1, 3, height, width)), network, (height, width))
    except Exception as error:  # whatever timm raises
        return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
    return ""


def _probe_with(name: str, input_size: tuple[int, int], options: dict[str, Any]) -> _Probe:
    import timm

    with torch.device("meta"), torch.enable_grad():
        network: Any = timm.create_model(name, num_classes=0, **options).eval()
        step = _reduction(network) or 32
        size = (math.ceil(_LEAST_HEIGHT / step) * step, math.ceil(_LEAST_WIDTH / step) * step)
        features = network.forward_features(torch.empty(1, 3, *size))
        layout = _layout_of(features, network, size)
        network.forward_features(torch.empty(1, 3, *input_size))
        parameters = dict(network.named_parameters())
        gradients = torch.autograd.grad(features.sum(), list(parameters.values()), allow_unused=True)
    unused = tuple(name for name, gradient in zip(parameters, gradients, strict=True) if gradient is None)
    return _Probe(options, features.shape[1 if layout == "BCHW" else -1], layout, unused)


def _layout_of(features: Any, network: Any, size: tuple[int, int]) -> str:
    if not isinstance(features, Tensor):
        raise _NoMapError(f"a {type(features).__name__}")
    shape, num_features = tuple(features.shape), network.num_features
    if features.ndim == 4 and num_features in (shape[1], shape[3]):
        return "BCHW" if shape[1] == num_features else "BHWC"
    num_prefix = _num_prefix_tokens(network)
    reduction = _reduction(network)
    if features.ndim == 3 and reduction and shape[1] - num_prefix == (size[0] // reduction) * (size[1] // reduction):
        return "BLC"
    raise _NoMapError(f"features of shape {shape} for a picture of {size[0]} x {size[1]}")


def _num_prefix_tokens(network: Any) -> int:
    """Tokens before those of the picture's places; not every network of timm before 1.0.31 tells."""
    return int(getattr(network, "num_prefix_tokens", hasattr(network, "cls_token")))


def _reduction(network: Any) -> int:
    """Pixels of the picture for one location of the last feature map, along each side; 0 if timm does not tell."""
    about = getattr(network, "feature_info", None)
    return int(about[-1]["reduction"]) if isinstance(about, list) and about else 0


def _remove(network: nn.Module, unused: tuple[str, ...]) -> None:
    """Remove these parameters, and whole layers (with a batch norm's statistics) that have no others."""
    by_layer: dict[str, list[str]] = {}
    for name in unused:
        layer, _, parameter = name.rpartition(".")
        by_layer.setdefault(layer, []).append(parameter)
    for layer, names in by_layer.items():
        owner = network.get_submodule(layer)
        if layer and len(names) == len(list(owner.parameters())):
            parent, _, child = layer.rpartition(".")
            setattr(network.get_submodule(parent), child, nn.Identity())
        else:
            for parameter in names:
                setattr(owner, parameter, None)
