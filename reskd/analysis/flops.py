"""How much arithmetic a recogniser does for one video.

Note [What is counted]
``total`` and ``parts`` are multiply-accumulates of convolutions, matrix products and attention: half of what
torch.utils.flop_counter calls FLOPs, and what papers call FLOPs. ``elementwise`` is what the counter behind the
ResKD paper's table adds: batch norm 2 an element, activation 1, max pooling 1 an input element. For ResNet-50, 16
frames at 224: 65.40 G + 0.52 G = 65.92 G, printed as 65.9 in the paper.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from reskd.models.config import RecognizerConfig
from reskd.models.registry import build_recognizer


@dataclass(frozen=True)
class MacCount:
    """Operations for one video, over all its views. See Note [What is counted].

    Args:
        total: multiply-accumulates.
        parts: name of a part ("backbone.layer1", "head") -> its share of ``total``, in the order of the model.
        elementwise: operations that ``total`` leaves out and some published counts add.
    """

    total: int
    parts: dict[str, int]
    elementwise: int


def count_macs(model: nn.Module, shape: tuple[int, int, int], *, num_views: int = 1) -> MacCount:
    """Run ``model`` once on the meta device, which computes shapes only, and count.

    Args:
        model: on any device, unchanged; in eval mode if all it sees is one frame.
        shape: (T, H, W) of one view; the model gets uint8 frames of shape (1, T, H, W, 3).
        num_views: clips times crops that are averaged for one video.
    """
    tensors = {name: value.to("meta") for name, value in (*model.named_parameters(), *model.named_buffers())}
    frames_NTHWC = torch.empty((1, *shape, 3), dtype=torch.uint8, device="meta")
    elementwise: list[int] = []
    counter = FlopCounterMode(display=False)
    with ExitStack() as stack:
        for module in model.modules():
            stack.callback(module.register_forward_hook(lambda *call: elementwise.append(_elementwise(*call))).remove)
        stack.enter_context(torch.no_grad())
        stack.enter_context(counter)
        torch.func.functional_call(model, tensors, (frames_NTHWC,))
    counts = counter.get_flop_counts()
    root = type(model).__name__

    def macs(key: str) -> int:
        return sum(counts.get(key, {}).values()) // 2 * num_views

    parts = {name: macs(f"{root}.{name}") for name in _part_names(model)}
    counted = {name: value for name, value in parts.items() if value}
    return MacCount(macs("Global"), counted, sum(elementwise) * num_views)


def count_recognizer(
    config: RecognizerConfig, shape: tuple[int, int, int], *, num_classes: int, num_views: int = 1
) -> MacCount:
    """As count_macs, for a recogniser that is not built yet and whose weights are not read."""
    with torch.device("meta"):
        model = build_recognizer(config, num_classes).eval()
    return count_macs(model, shape, num_views=num_views)


def _elementwise(module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> int:
    if isinstance(module, _BatchNorm):
        return 2 * output.numel()
    if isinstance(module, (nn.ReLU, nn.ReLU6)):
        return output.numel()
    if isinstance(module, nn.MaxPool2d):
        return inputs[0].numel()
    return 0


def _part_names(model: nn.Module) -> list[str]:
    """The children of the model, and in place of its backbone that one's: "backbone.conv1", ..., "head"."""
    names = []
    for name, child in model.named_children():
        inner_names = [f"{name}.{inner}" for inner, _ in child.named_children()]
        names += inner_names if name == "backbone" else [name]
    return names
