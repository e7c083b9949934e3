"""Translates the tensor names of timm's networks, and of EfficientNet-PyTorch's Lite networks, into ours.

Our names are timm's under ``backbone.network.``, and ``head.`` for the linear layer. EfficientNet-PyTorch (github.com/
lukemelas/EfficientNet-PyTorch, and efficientnet-lite-pytorch) numbers its blocks through all stages:

    theirs                                   timm's
    _conv_stem, _bn0                         conv_stem, bn1
    _conv_head, _bn1                         conv_head, bn2
    _fc                                      the classifier
    _blocks.0._depthwise_conv, _bn1          blocks.0.0.conv_dw, bn1       a block without expansion
    _blocks.0._project_conv, _bn2            blocks.0.0.conv_pw, bn2
    _blocks.3._expand_conv, _bn0             blocks.2.0.conv_pw, bn1       a block with expansion
    _blocks.3._depthwise_conv, _bn1          blocks.2.0.conv_dw, bn2
    _blocks.3._project_conv, _bn2            blocks.2.0.conv_pwl, bn3
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from torch import Tensor

from reskd.models.backbones.timm_2d import TimmBackbone
from reskd.models.timm_catalog import timm_settings
from reskd.models.weights.names import Layout, Renamed, two_tensors

_PREFIX = "backbone.network."
_OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
_EXPANDING = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_NOT_EXPANDING = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def rename_timm(tensors: Mapping[str, Tensor], network: TimmBackbone, *, where: str) -> Renamed:
    """Translate names of timm or of EfficientNet-PyTorch; an unknown name is refused later as not in the model.

    Args:
        network: that the tensors are for.
        where: the file, for the message.

    Raises:
        ValueError: two tensors would have one name.
    """
    names = [source.removeprefix("module.") for source in tensors]  # DistributedDataParallel's prefix
    layout: Layout = "timm"
    if "_conv_stem.weight" in names:
        layout = "EfficientNet-PyTorch"
        names = _as_timm(names, [*network.network.state_dict()])
    found = timm_settings(network.name)["classifier"]
    classifiers = (found,) if isinstance(found, str) else tuple(found or ())
    ours, sources, ignored = dict[str, Tensor](), dict[str, str](), dict[str, str]()
    for name, source in zip(names, tensors, strict=True):
        layer, _, parameter = name.rpartition(".")
        if name in network.removed:
            ignored[source] = "between the last feature map and timm's classifier"
            continue
        if layer in classifiers and len(classifiers) > 1:
            ignored[source] = "one of several classifiers"
            continue
        target = f"head.{parameter}" if layer in classifiers else f"{_PREFIX}{name}"
        if target in ours:
            raise two_tensors(name, sources[target], source, where=where)
        ours[target], sources[target] = tensors[source], source
    return Renamed(layout, ours, sources, ignored, shifted=None)


def _as_timm(names: Collection[str], names_of_network: Collection[str]) -> list[str]:
    """EfficientNet-PyTorch's names in timm's words, in the same order; an unknown name stays."""
    blocks = {found[0] for name in names_of_network if (found := re.match(r"blocks\.(\d+)\.(\d+)(?=\.)", name))}
    in_order = sorted(blocks, key=lambda block: [int(number) for number in block.split(".")[1:]])
    expanding = {name.split(".")[1] for name in names if "._expand_conv." in name}
    found_names = []
    for name in names:
        parts = name.split(".")
        if parts[0] == "_fc":
            name = ".".join(["classifier", *parts[1:]])
        elif parts[0] in _OUTER:
            name = ".".join([_OUTER[parts[0]], *parts[1:]])
        elif parts[0] == "_blocks" and len(parts) > 3 and parts[1].isdigit() and int(parts[1]) < len(in_order):
            layers = _EXPANDING if parts[1] in expanding else _NOT_EXPANDING
            name = ".".join([in_order[int(parts[1])], layers.get(parts[2], parts[2]), *parts[3:]])
        found_names.append(name)
    return found_names
