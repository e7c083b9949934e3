"""Translates other projects' tensor names into ours.

Our names are torchvision's under ``backbone.``, and ``head.`` for the linear layer. Theirs, from mmaction2 1.2 and from
the code of the ResKD paper, a fork of mmaction2 0.x:

    theirs                                          ours
    backbone.layer1.0.conv1.conv.weight             backbone.layer1.0.conv1.weight
    backbone.layer1.0.conv1.conv.net.weight         the same, in a TSM: "net" is shifted
    backbone.layer1.0.conv1.bn.weight               backbone.layer1.0.bn1.weight
    backbone.layer1.0.downsample.conv.weight        backbone.layer1.0.downsample.0.weight
    backbone.layers.1.blocks.0.mlp.fc1.weight       backbone.features.2.0.mlp.0.weight
    backbone.layers.1.downsample.reduction.weight   backbone.features.3.reduction.weight
    backbone.norm3.weight, backbone.norm.weight     backbone.norm.weight
    cls_head.fc_cls.weight                          head.weight
    backbone.low_res_path.*, .high_res_path.*       the student's backbone; its teacher's, ignored
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Layout = Literal["ours", "torchvision", "mmaction2", "the paper's code", "timm", "EfficientNet-PyTorch"]

IMAGE_LAYOUTS = ("torchvision", "timm", "EfficientNet-PyTorch")  # of classifiers of pictures

_MMACTION_LAYOUTS = ("mmaction2", "the paper's code")
_BLOCK = r"^(backbone\.layer\d+\.\d+)"
_Replacement = str | Callable[[re.Match[str]], str]
_MMACTION: tuple[tuple[str, _Replacement], ...] = (
    (r"^backbone\.low_res_path\.", "backbone."),
    (r"^cls_head\.fc_cls\.", "head."),
    (r"^backbone\.conv1\.conv\.", "backbone.conv1."),
    (r"^backbone\.conv1\.bn\.", "backbone.bn1."),
    (_BLOCK + r"\.conv(\d)\.conv\.(?:net\.)?", r"\1.conv\2."),
    (_BLOCK + r"\.conv(\d)\.bn\.", r"\1.bn\2."),
    (_BLOCK + r"\.downsample\.conv\.", r"\1.downsample.0."),
    (_BLOCK + r"\.downsample\.bn\.", r"\1.downsample.1."),
    # torchvision numbers stages and the patch mergings between them in one sequence.
    (r"^backbone\.layers\.(\d+)\.blocks\.", lambda found: f"backbone.features.{2 * int(found[1])}."),
    (r"^backbone\.layers\.(\d+)\.downsample\.", lambda found: f"backbone.features.{2 * int(found[1]) + 1}."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.3."),
    (r"^backbone\.norm3\.", "backbone.norm."),
)
_TORCHVISION: tuple[tuple[str, _Replacement], ...] = (
    (r"^(?:fc|classifier\.1|head)\.", "head."),
    (r"^(?!head\.)", "backbone."),
)
_IGNORED = {
    r"^backbone\.high_res_path\.": "the teacher beside the student; a teacher loads its own checkpoint",
    r"^cls_head\.fc_cls_t\.": "the classifier of the teacher beside the student",
}


@dataclass(frozen=True)
class Renamed:
    """A state dict under our names.

    Attributes:
        layout: the project whose names they were.
        tensors: our name -> tensor.
        sources: our name -> the file's name.
        ignored: the file's name -> reason.
        shifted: our names of the convolutions that the file shifts in time; None if its names do not show it.
    """

    layout: Layout
    tensors: dict[str, Tensor]
    sources: dict[str, str]
    ignored: dict[str, str]
    shifted: frozenset[str] | None


def rename(tensors: Mapping[str, Tensor], *, where: str) -> Renamed:
    """Translate names of any known layout; an unknown name stays and is refused later as not in the model.

    Args:
        where: the file, for the message.

    Raises:
        ValueError: two tensors would have one name.
    """
    layout = layout_of(tensors)
    ours: dict[str, Tensor] = {}
    sources: dict[str, str] = {}
    ignored: dict[str, str] = {}
    shifted = set()
    for source, tensor in tensors.items():
        # DistributedDataParallel's prefix.
        name = source.removeprefix("module.")
        reason = _why_ignored(name) if layout == "the paper's code" else None
        if reason:
            ignored[source] = reason
            continue
        target = _translate(name, layout)
        if target in ours:
            raise two_tensors(target, sources[target], source, where=where)
        ours[target], sources[target] = tensor, source
        if ".conv.net." in name:
            shifted.add(target)
    return Renamed(layout, ours, sources, ignored, frozenset(shifted) if layout in _MMACTION_LAYOUTS else None)


def two_tensors(name: str, first: str, second: str, *, where: str) -> ValueError:
    """The refusal of a file that has two tensors for one place."""
    return ValueError(f"{where}: expected one tensor for {name}, found {first} and {second}; give another file.")


def layout_of(names: Iterable[str]) -> Layout:
    """The layout of a file of a network of torchvision or of ours; timm's is in timm_names.py."""
    plain = [name.removeprefix("module.") for name in names]
    # Our name for a network of timm, whose own names may look like mmaction2's.
    if any(name.startswith("backbone.network.") for name in plain):
        return "ours"
    if any(name.startswith("backbone.low_res_path.") for name in plain):
        return "the paper's code"
    if any(re.match(r"cls_head\.|backbone\.layers\.|backbone\..*\.(conv|bn)\.", name) for name in plain):
        return "mmaction2"
    # A mean of features has only its head's weights.
    if any(name.startswith(("backbone.", "aggregator.")) for name in plain) or all(
        name.startswith("head.") for name in plain
    ):
        return "ours"
    return "torchvision"


def _why_ignored(name: str) -> str | None:
    return next((reason for pattern, reason in _IGNORED.items() if re.match(pattern, name)), None)


def _translate(name: str, layout: Layout) -> str:
    if layout == "ours":
        return name
    for pattern, replacement in _TORCHVISION if layout == "torchvision" else _MMACTION:
        name = re.sub(pattern, replacement, name)
    return name
