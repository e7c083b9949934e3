"""Channels-last from the frames to the features and back: which copies a training step makes, and where.

Note [What is counted]
``LayoutChanges`` notes every operation that only writes a tensor again, in another memory format or dtype. What is
counted on top are the layers' gradients in another format than channels-last: the kernels of batch norm and of
convolutions would copy those inside, where no mode sees it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from reskd.models.backbones.temporal_shift import ShiftedConv2d
from reskd.models.recognizer import Recognizer
from tests.reskd.models.families.families import make, make_clips

CONVOLUTIONAL = ["tsn", "tsn_mobilenet", "tsm", "slow_only"]


class LayoutChanges(TorchDispatchMode):
    """Notes every operation that writes a tensor again in another memory format or dtype, and all that join tensors.

    Copies that keep the format are not meant: autograd keeps the input of an in-place ReLU6 as one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.where = ""
        self.smallest = 0
        self.num_joins = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        self.num_joins += name == "cat"
        if name in ("clone", "contiguous", "copy_", "_to_copy"):
            source = args[1] if func is torch.ops.aten.copy_.default else args[0]
            is_changed = (result.stride(), result.dtype) != (source.stride(), source.dtype)
            if is_changed and result.numel() >= self.smallest:
                self.found.append(self.where)
        return result


def _is_channels_last(tensor: Tensor) -> bool:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return tensor.dim() not in formats or tensor.is_contiguous(memory_format=formats[tensor.dim()])


def _watch_layers(model: Recognizer) -> list[str]:
    """Names of layers whose input, weight, output or gradient is not channels-last, filled as the model runs."""
    found: list[str] = []

    def watch(name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found.extend(name for tensor in (*inputs, *layer.parameters(), output) if not _is_channels_last(tensor))
        output.register_hook(lambda gradient: None if _is_channels_last(gradient) else found.append(f"d {name}"))

    for name, module in model.backbone.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda *call, name=name: watch(name, *call))
    return found


@contextmanager
def _two_threads() -> Iterator[None]:
    """A 3-D convolution of less than 16 clips by one thread alone takes a kernel that knows no channels-last."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def _step(model: Recognizer, changes: LayoutChanges) -> None:
    """Forward and backward of a loss on the scores and on the feature map, whose gradient is channels-last."""
    frames_NTHWC = make_clips(2, 4, 64, 96)
    with _two_threads(), changes:
        output = model(frames_NTHWC)
        (output.logits_NK.logsumexp(1).sum() + output.features_NTDHW.square().sum()).backward()


@pytest.mark.parametrize("family", CONVOLUTIONAL)
def test_no_layer_of_a_training_step_leaves_channels_last_and_nothing_is_copied(family: str) -> None:
    model, changes = make(family), LayoutChanges()
    left = _watch_layers(model)
    _step(model, changes)
    assert not left
    assert not changes.found


def test_a_shift_writes_its_result_once_and_its_gradient_once() -> None:
    model, changes = make("tsm"), LayoutChanges()
    _step(model, changes)
    num_shifts = sum(isinstance(module, ShiftedConv2d) for module in model.modules())
    assert num_shifts == 8
    assert changes.num_joins == 2 * num_shifts


@pytest.mark.parametrize(("family", "most_in_a_block"), [("swin", 7), ("swin_masked", 6)])
def test_swin_copies_where_windows_are_cut_and_nowhere_else(family: str, most_in_a_block: int) -> None:
    """Windows out of the map; queries, keys and values head by head; heads, then windows back together: 6. torchvision
    copies what is left when a margin is cut off: 7. Tables and masks, smaller than the map, are left out."""
    model, changes = make(family), LayoutChanges()

    def enter(name: str, map_NTHWC: Tensor | None = None) -> None:
        changes.where, changes.smallest = name, map_NTHWC.numel() if map_NTHWC is not None else 0

    attentions = {name: module for name, module in model.named_modules() if name.endswith(".attn")}
    for name, module in attentions.items():
        module.register_forward_pre_hook(lambda _, inputs, name=name: enter(name, inputs[0]))
        module.register_forward_hook(lambda *_: enter("elsewhere"))
    model.head.register_forward_hook(lambda *_: enter("backward"))
    _step(model, changes)
    counts = Counter(changes.found)
    num_backward = counts.pop("backward", 0)
    assert counts.keys() == attentions.keys()
    assert max(counts.values()) == most_in_a_block
    assert num_backward <= sum(counts.values())


@pytest.mark.parametrize("family", [*CONVOLUTIONAL, "swin"])
def test_features_are_the_backbones_own_memory_in_channels_last(family: str) -> None:
    model = make(family)
    answers: list[Tensor] = []
    model.backbone.register_forward_hook(lambda _, __, output: answers.append(output))
    with _two_threads():
        features_BDHW = model(make_clips(2, 4, 64, 96)).features_NTDHW.flatten(0, 1)
    assert features_BDHW.data_ptr() == answers[0].data_ptr()
    assert features_BDHW.is_contiguous(memory_format=torch.channels_last)


def test_layout_changes_are_noticed() -> None:
    with LayoutChanges() as changes:
        torch.zeros(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    assert changes.found


def test_a_gradient_in_another_layout_is_noticed() -> None:
    model = make("tsn")
    left = _watch_layers(model)
    output = model(make_clips(2, 2, 64, 96))
    output.features_NTDHW.backward(torch.ones_like(output.features_NTDHW).contiguous())
    assert left
