"""The blocks of a backbone: those that repeat, as residual or attention blocks, in the order in which they run.

Note [Layers of a network]
For learning rates that fall with depth, layer 0 is the stem, each block is a layer, and the head is the last one. What
stands between two blocks, as a downsampling or a norm, belongs to the one before it. A network of timm has timm's own
groups (``group_matcher``), in which some downsamplings are layers of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from reskd.models.backbones.timm_2d import TimmBackbone

_RESNET_STAGE = re.compile(r"layer\d+")


def block_names(backbone: nn.Module, name: str) -> list[str]:
    """Names of the modules that are blocks, in order.

    Args:
        name: of the backbone, for errors.

    Raises:
        ValueError: timm does not tell the blocks of this network.
    """
    if isinstance(backbone, TimmBackbone):
        return [f"network.{one}" for one in _timm_blocks(backbone.network, name)]
    return list(_torchvision_blocks(backbone))


def layers_below_head(backbone: nn.Module, name: str) -> dict[str, int]:
    """Name of each parameter -> how many layers it is below the head, from 1: see Note [Layers of a network].

    Raises:
        ValueError: timm does not tell the layers of this network.
    """
    if isinstance(backbone, TimmBackbone):
        return {f"network.{one}": below for one, below in _timm_layers(backbone.network, name).items()}
    blocks = block_names(backbone, name)
    begun, found = -1, {}
    for one, _ in backbone.named_parameters():
        while begun + 1 < len(blocks) and one.startswith(f"{blocks[begun + 1]}."):
            begun += 1
        found[one] = len(blocks) - begun
    return found


def _torchvision_blocks(backbone: nn.Module) -> Iterator[str]:
    for name, part in backbone.named_children():
        if _RESNET_STAGE.fullmatch(name):
            yield from (f"{name}.{number}" for number, _ in part.named_children())
        elif name == "features":  # of MobileNetV2, whose first layer is the stem, or of Video Swin
            for number, child in part.named_children():
                if isinstance(child, nn.Sequential) and "norm1" in dict(child[0].named_children()):
                    yield from (f"features.{number}.{inner}" for inner, _ in child.named_children())
                elif number != "0" and not hasattr(child, "reduction"):  # a merging of patches
                    yield f"features.{number}"


def _timm_blocks(network: Any, name: str) -> list[str]:
    found: Any = _matcher(network, name)
    patterns = found.get("blocks", ()) if isinstance(found, Mapping) else ()
    several = [(patterns, None)] if isinstance(patterns, str) else patterns
    # Those with a number of their own are no blocks, but downsamplings and norms.
    of_blocks = [re.compile(pattern) for pattern, number in several if number is None]
    blocks = [
        one
        for one, module in network.named_modules()
        if any(pattern.fullmatch(one) for pattern in of_blocks) and next(module.children(), None) is not None
    ]
    if not blocks:
        raise ValueError(
            f"activation_checkpointing: expected a network whose blocks timm tells, found {name}; leave it out or "
            "choose another network."
        )
    return blocks


class _WithHead:
    """A network's parameters and its classifier's weight, which our networks of timm do not have."""

    def __init__(self, network: Any) -> None:
        classifier = getattr(network, "pretrained_cfg", {}).get("classifier") or "head"
        self.classifier = f"{classifier if isinstance(classifier, str) else classifier[0]}.weight"
        self._network = network

    def named_parameters(self) -> Iterator[tuple[str, Any]]:
        yield from self._network.named_parameters()
        yield self.classifier, None


def _timm_layers(network: Any, name: str) -> dict[str, int]:
    from timm.models import group_parameters

    matcher, whole = _matcher(network, name), _WithHead(network)
    layers: dict[str, int] = group_parameters(whole, matcher, reverse=True)  # type: ignore[arg-type]
    head = layers.pop(whole.classifier)
    # The head's layer has what follows the last block too.
    return {one: head - layer for one, layer in layers.items()}


def _matcher(network: Any, name: str) -> Any:
    if not hasattr(network, "group_matcher"):
        raise ValueError(
            f"{name}: expected a network whose layers timm tells, for optimizer.layer_decay or "
            "activation_checkpointing, found one without; leave the setting out or choose another network."
        )
    return network.group_matcher(coarse=False)
