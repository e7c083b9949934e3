"""Recognizes the network of a state dict by its tensor names and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from torch import Tensor

# (blocks of the four stages, has bottlenecks) -> name.
_RESNETS: dict[tuple[tuple[int, ...], bool], str] = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
    ((3, 4, 23, 3), True): "resnet101",
    ((3, 8, 36, 3), True): "resnet152",
}
# (blocks of the four stages, channels of the first) -> the letter in torchvision's name.
_SWINS: dict[tuple[tuple[int, ...], int], str] = {
    ((2, 2, 6, 2), 96): "t",
    ((2, 2, 18, 2), 96): "s",
    ((2, 2, 18, 2), 128): "b",
}

Kind = Literal["2-D", "2-D and shifted in time", "3-D"]


class Network(NamedTuple):
    """A network's torchvision name, the kind of its convolutions, and the number of classes of its head."""

    backbone: str
    kind: Kind
    num_classes: int | None

    @property
    def family(self) -> str:
        """The family of our recognizer for these weights."""
        if self.backbone.startswith("swin3d"):
            return "swin"
        return {"2-D": "tsn", "2-D and shifted in time": "tsm", "3-D": "slow_only"}[self.kind]

    def __str__(self) -> str:
        # torchvision's name of a Swin already tells 2-D from 3-D.
        kind = "" if self.kind == "2-D" or self.backbone.startswith("swin") else f", {self.kind},"
        return f"{self.backbone}{kind}" + (f" with {self.num_classes} classes" if self.num_classes else "")


# A name prefix that identifies the kind of an aggregator.
_AGGREGATORS = {
    "aggregator.lower.": "h_rnn",
    "aggregator.squeeze.": "nextvlad",
    "aggregator.gate.": "netvlad",
}


def recognize(tensors: Mapping[str, Tensor], *, is_shifted: bool = False) -> Network | None:
    """The network with these tensors under our names (see names.py); None if it is unknown."""
    names = {name.removeprefix("backbone.") for name in tensors}
    num_classes = num_classes_of(tensors)
    blocks = tuple(_count(names, f"layer{number}.") for number in range(1, 5))
    resnet = _RESNETS.get((blocks, "layer1.0.conv3.weight" in names))
    if resnet:
        stem = tensors.get("backbone.conv1.weight")
        is_3d = stem is not None and stem.ndim == 5
        return Network(resnet, "3-D" if is_3d else "2-D and shifted in time" if is_shifted else "2-D", num_classes)
    if "features.18.0.weight" in names:
        return Network("mobilenet_v2", "2-D", num_classes)
    is_3d = "patch_embed.proj.weight" in names
    first = 0 if is_3d else 1
    stages = tuple(_count(names, f"features.{number}.") for number in range(first, first + 8, 2))
    stem = tensors.get("backbone.patch_embed.proj.weight" if is_3d else "backbone.features.0.0.weight")
    letter = _SWINS.get((stages, 0 if stem is None else len(stem)))
    return Network(f"swin{'3d' * is_3d}_{letter}", "3-D" if is_3d else "2-D", num_classes) if letter else None


def describe(tensors: Mapping[str, Tensor], *, is_shifted: bool = False, first: str | None = None) -> str:
    """In words: 'resnet18 with 10 classes'.

    Args:
        first: the first tensor's name in the file, if it differs from ours.
    """
    network, aggregator = recognize(tensors, is_shifted=is_shifted), _aggregator(tensors)
    if aggregator:
        classes = num_classes_of(tensors)
        on = f"{network.backbone} and {aggregator}" if network else f"{aggregator} on features"
        return on + (f" with {classes} classes" if classes else "")
    if network:
        return str(network)
    if any(name.startswith("backbone.network.") for name in tensors):
        classes = num_classes_of(tensors)
        return f"{len(tensors)} tensors of timm" + (f" with {classes} classes" if classes else "")
    first = first or next(iter(tensors), "none")
    return f"{len(tensors)} tensors of an unknown network (the first is {first})"


def num_classes_of(tensors: Mapping[str, Tensor]) -> int | None:
    """K of the head, under our names; None without a head."""
    if "head.weight" in tensors:
        return len(tensors["head.weight"])
    if "head.gates.weight" in tensors and "head.experts.weight" in tensors:
        # A class has one gate more than it has experts.
        return len(tensors["head.gates.weight"]) - len(tensors["head.experts.weight"])
    return None


def _aggregator(tensors: Mapping[str, Tensor]) -> str | None:
    """The aggregator's kind; a head alone means a mean."""
    if tensors and all(name.startswith("head.") for name in tensors):
        return "mean"
    return next(
        (kind for prefix, kind in _AGGREGATORS.items() if any(name.startswith(prefix) for name in tensors)), None
    )


def _count(names: set[str], prefix: str) -> int:
    return len({name.removeprefix(prefix).split(".")[0] for name in names if name.startswith(prefix)})
