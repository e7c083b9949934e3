"""Counts the operations and parameters of a recognizer for one video, in total and for each part.

Note [What is counted]
``total`` counts multiply-accumulates of convolutions, matrix products and attention. Papers call them FLOPs;
torch.utils.flop_counter reports twice as many. ``published`` follows the counter behind the ResKD paper's tables, which
differs in two ways:

- it adds elementwise operations of layers (``elementwise``): batch and layer norm 2 per element, ReLU 1 per element,
  max pooling 1 per input element; GELU and softmax nothing. ResNet-50, 16 frames at 224: 65.40 G + 0.52 G = 65.92 G,
  printed as 65.9;
- it counts layers only, and the two products of attention, queries with keys and weights with values, are not layers
  (``attention_products``). Swin-S, 32 frames at 224, 12 views: 1988.2 G - 351.2 G + 2.1 G = 1639.1 G, printed as 1639.
  Video Swin's own paper (arXiv:2106.13230) counts them: 166 G per view, 1992 G.

Note [What is between frames]
``between_frames`` is the share of ``total`` that mixes several frames: convolutions whose kernel is longer than 1 in
time, attention products, and all of an aggregator but its ``frame_layers``: whole LSTMs (one product takes a frame and
the last state), VLAD's sums over frames, and the layers after them. VLAD's products are not attention products. All
other operations are done for each frame by itself, or once per clip (the head). TSM's shift moves numbers between
frames and multiplies nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from reskd.models.aggregators.aggregator import Aggregator
from reskd.models.config import RecognizerConfig
from reskd.models.families.registry import build_recognizer
from reskd.models.recognizer import Shape, data_shape

_OF_LAYERS = {"convolution", "_convolution", "mm", "addmm"}  # all other products are attention's, or an aggregator's
_OPENED = ("backbone", "network", "features", "aggregator", "groups")
_MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)


@dataclass(frozen=True)
class PartCount:
    """Multiply-accumulates for one video, and parameters."""

    macs: int
    parameters: int


@dataclass(frozen=True)
class MacCount:
    """Operations for one video, over all its views. See Note [What is counted].

    Args:
        total: multiply-accumulates.
        between_frames: the share of ``total`` that mixes several frames. See Note [What is between frames].
        attention_products: the share of ``total`` that some published counts leave out.
        elementwise: operations that ``total`` leaves out and some published counts add.
        parameters: of the whole model.
        parts: name of a part ("backbone.layer1", "head") -> its share, in the order of the model.
    """

    total: int
    between_frames: int
    attention_products: int
    elementwise: int
    parameters: int
    parts: Mapping[str, PartCount]

    @property
    def head(self) -> int:
        """Multiply-accumulates of the classifier, once per view."""
        return self.parts["head"].macs if "head" in self.parts else 0

    @property
    def within_frames(self) -> int:
        """The operations done for each frame by itself, over all frames of all views."""
        return self.total - self.between_frames - self.head

    @property
    def published(self) -> int:
        """The total as the ResKD paper counts it."""
        return self.total - self.attention_products + self.elementwise


def count_macs(model: nn.Module, shape: Shape, *, num_test_views: int = 1) -> MacCount:
    """Run ``model`` once on the meta device, which computes shapes only, and count.

    Args:
        model: on any device, unchanged; in eval mode if its input is one frame. Its classifier is called head.
        shape: of one view; the model gets uint8 frames of shape (1, T, H, W, 3), or features of (1, T, D).
        num_test_views: clips times crops that are averaged for one video.
    """
    tensors = {name: value.to("meta") for name, value in (*model.named_parameters(), *model.named_buffers())}
    data = torch.empty(data_shape(shape, 1), dtype=torch.uint8, device="meta")
    elementwise: list[int] = []
    counter = FlopCounterMode(display=False)
    with ExitStack() as stack:
        for module in model.modules():
            stack.callback(module.register_forward_hook(lambda *call: elementwise.append(_elementwise(*call))).remove)
        stack.enter_context(torch.no_grad())
        stack.enter_context(counter)
        stack.enter_context(torch.device("meta"))  # tensors that a network makes as it goes
        torch.func.functional_call(model, tensors, (data,))
    counts, root = counter.get_flop_counts(), type(model).__name__
    head_prefix = getattr(model, "head_prefix", "head.")

    def macs(name: str, *, of_layers: bool = True, of_attention: bool = True) -> int:
        wanted = {True: of_layers, False: of_attention}
        found = counts.get(f"{root}.{name}" if name else "Global", {})
        return sum(flops for op, flops in found.items() if wanted[_name(op) in _OF_LAYERS]) // 2 * num_test_views

    over_time = [name for name, module in model.named_modules() if _looks_over_time(module)]
    aggregators = [name for name, module in model.named_modules() if isinstance(module, Aggregator)]
    attention_products = macs("", of_layers=False) - sum(macs(name, of_layers=False) for name in aggregators)
    of_frames = sum(macs(name) for name in _frame_layers(model))
    return MacCount(
        total=macs(""),
        between_frames=attention_products + sum(macs(name) for name in over_time + aggregators) - of_frames,
        attention_products=attention_products,
        elementwise=sum(elementwise) * num_test_views,
        parameters=_num_parameters(model),
        parts={
            "head" if f"{name}." == head_prefix else name: PartCount(macs(name), _num_parameters(part))
            for name, part in _parts(model).items()
        },
    )


def count_recognizer(config: RecognizerConfig, shape: Shape, *, num_classes: int, num_test_views: int = 1) -> MacCount:
    """As count_macs, for a config; no weights are read."""
    with torch.device("meta"):
        model = build_recognizer(config, num_classes).eval()
    return count_macs(model, shape, num_test_views=num_test_views)


def _name(op: Any) -> str:
    return str(op).rsplit(".", 1)[-1]


def _looks_over_time(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv3d) and module.kernel_size[0] > 1


def _frame_layers(model: nn.Module) -> list[str]:
    """Names of the aggregators' layers that process each frame by itself."""
    return [
        f"{name}.{layer}"
        for name, module in model.named_modules()
        if isinstance(module, Aggregator)
        for layer in module.frame_layers
    ]


def _elementwise(module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> int:
    if isinstance(module, (_BatchNorm, nn.LayerNorm)):
        return 2 * output.numel()
    if isinstance(module, (nn.ReLU, nn.ReLU6)):
        return output.numel()
    if isinstance(module, _MAX_POOLS):
        return inputs[0].numel()
    return 0


def _num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _parts(model: nn.Module) -> dict[str, nn.Module]:
    """The children that hold parameters; those named in ``_OPENED`` are replaced by their own children."""
    found: dict[str, nn.Module] = {}
    for name, child in model.named_children():
        if name in _OPENED:
            found |= {f"{name}.{inner}": part for inner, part in _parts(child).items()}
        else:
            found[name] = child
    return {name: part for name, part in found.items() if _num_parameters(part)}
