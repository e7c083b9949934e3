"""Folds batch norm layers that use running statistics into the convolutions before them, for inference.

conv: y = W x + b,  batch norm: z = (y - mean) / sqrt(var + eps) * gamma + beta
folded: z = (W s) x + (b - mean) s + beta,  s = gamma / sqrt(var + eps)
"""

from __future__ import annotations

import functools
import logging
from collections import Counter
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from reskd.outputs import RecognizerOutput

log = logging.getLogger(__name__)

_Conv = nn.Conv2d | nn.Conv3d


class _Folded(NamedTuple):
    """A pair before it was folded."""

    conv: _Conv
    weight: Tensor
    bias: Tensor | None
    name: str
    norm: _BatchNorm


# Largest difference of an output, of its largest value. TF32 rounds to 1e-3; a wrong fold is off by its whole value.
_TOLERANCE = 1e-2


@torch.no_grad()
def fold_batch_norms(model: nn.Module, data: Tensor) -> int:
    """Fold what can be folded, in place. Outputs stay the same but for rounding, else nothing is changed.

    A pair is found by running the network: a batch norm whose input is the output of the convolution that ran last.

    Args:
        model: (data, None) -> RecognizerOutput, in eval mode; without gradients.
        data: the first clips that the model is shown; their shape and dtype alone are used.

    Returns:
        The number of folded layers; 0 on the meta device.
    """
    if data.device.type == "meta" or not any(isinstance(module, _BatchNorm) for module in model.modules()):
        return 0
    clip = _random_clip(data)
    devices = [data.device] if data.device.type == "cuda" else []
    with torch.autocast(data.device.type, enabled=False), torch.random.fork_rng(devices):  # a run's stay as they were
        pairs, before = _run(model, clip)
        if not pairs:
            return 0
        originals = [_fold(model, *pair) for pair in pairs]
        after = _tensors(model(clip, None))
    if all(_is_close(one, other) for one, other in zip(_tensors(before), after, strict=True)):
        return len(pairs)
    log.warning("batch norm is not folded into convolutions: the network's outputs would change")
    for one in originals:
        one.conv.weight, one.conv.bias = cast(nn.Parameter, one.weight), cast(nn.Parameter | None, one.bias)
        _replace(model, one.name, one.norm)
    return 0


def _random_clip(data: Tensor) -> Tensor:
    """One clip of random pixels or features, the same each time: folding must not depend on a run's first batch."""
    values = torch.randint(0, 256, (1, *data.shape[1:]), generator=torch.Generator().manual_seed(0))
    return values.to(data.device, data.dtype)


def _run(model: nn.Module, clip: Tensor) -> tuple[list[tuple[_Conv, str]], RecognizerOutput]:
    """Convolutions with the names of the batch norm layers that take their outputs next, each running once; outputs.

    One convolution's output is held at a time.
    """
    num_runs: Counter[nn.Module] = Counter()
    last: dict[_Conv, Tensor] = {}
    pairs: list[tuple[_Conv, str]] = []

    def after_conv(conv: _Conv, _: object, output: Tensor) -> None:
        num_runs[conv] += 1
        last.clear()
        last[conv] = output

    def before_norm(norm: nn.Module, data: tuple[Tensor, ...], name: str) -> None:
        num_runs[norm] += 1
        pairs.extend((conv, name) for conv, output in last.items() if output is data[0])

    handles = []
    for name, module in model.named_modules():
        if isinstance(module, _Conv):
            handles.append(module.register_forward_hook(after_conv))
        elif isinstance(module, _BatchNorm) and _activation(module) is not None:
            handles.append(module.register_forward_pre_hook(functools.partial(before_norm, name=name)))
    try:
        output = model(clip, None)
    finally:
        for handle in handles:
            handle.remove()
    once = [(conv, name) for conv, name in pairs if num_runs[conv] == num_runs[model.get_submodule(name)] == 1]
    return once, output


def _activation(norm: _BatchNorm) -> nn.Module | None:
    """What is left of a batch norm layer once it is folded; None where this is not known, or the batch normalizes."""
    if norm.running_mean is None or norm.training:
        return None
    if type(norm) in (nn.BatchNorm2d, nn.BatchNorm3d):
        return nn.Identity()
    if type(norm).__name__ == "BatchNormAct2d":  # timm's, with an activation of its own
        return nn.Sequential(cast(nn.Module, norm.drop), cast(nn.Module, norm.act))
    return None


def _fold(model: nn.Module, conv: _Conv, name: str) -> _Folded:
    norm = cast(_BatchNorm, model.get_submodule(name))
    original, left = _Folded(conv, conv.weight, conv.bias, name, norm), _activation(norm)
    assert left is not None and norm.running_mean is not None and norm.running_var is not None
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    _replace(model, name, left)
    return original


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def _tensors(output: RecognizerOutput) -> list[Tensor]:
    return [value for value in output if value is not None]


def _is_close(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= _TOLERANCE * one.abs().max())
