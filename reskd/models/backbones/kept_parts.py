"""Parts of a backbone that the training keeps as the initial weights have them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Set
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from reskd.models.backbones.frame_backbone import build_frame_backbone
from reskd.models.backbones.timm_2d import TimmBackbone
from reskd.models.backbones.torchvision_2d import stage_ends
from reskd.models.config import AggregatedConfig, PixelRecognizerConfig, TsmConfig, TsnConfig, network_name


def keep_parts(backbone: nn.Module, config: PixelRecognizerConfig) -> tuple[nn.Module, ...]:
    """Freeze the parameters of the parts that ``config`` keeps; returns the modules to hold in eval mode.

    Raises:
        ValueError: the backbone has no such part.
    """
    kept = _batch_norms(backbone, network_name(config)) if config.batch_norm == "running_stats" else ()
    if isinstance(config, TsnConfig | TsmConfig | AggregatedConfig) and config.frozen_stages != 0:
        kept += _stages(backbone, config.backbone, config.frozen_stages)
    return kept


def _batch_norms(backbone: nn.Module, name: str) -> tuple[nn.Module, ...]:
    found = tuple(module for module in backbone.modules() if isinstance(module, _BatchNorm))
    if not found:
        raise ValueError(
            f"batch_norm = running_stats: expected a backbone with batch norm, found {name}, which has none; leave "
            "batch_norm out."
        )
    for module in found:
        module.requires_grad_(False)
    return found


def _stages(backbone: nn.Module, name: str, num_stages: int | Literal["all"]) -> tuple[nn.Module, ...]:
    """The modules of the first stages: no parameter is in two of them, and none of them has any other."""
    ends = backbone.stage_ends if isinstance(backbone, TimmBackbone) else stage_ends(name)
    if num_stages != "all" and num_stages > len(ends):
        expected = f"at most {len(ends)} for {name}" if ends else f"all for {name}, whose stages timm does not tell"
        raise ValueError(f"frozen_stages: expected {expected}, found {num_stages}; change it.")
    is_all = num_stages in ("all", len(ends))
    names = dict(backbone.named_parameters()).keys()
    frozen = names if is_all else names & _parameters_before(name, ends[int(num_stages) - 1])
    found = tuple(_whole_modules(backbone, "", frozen))
    for parameter_name, parameter in backbone.named_parameters():
        if parameter_name in frozen:
            parameter.requires_grad_(False)
    return found


@functools.cache  # each start builds a network several times
def _parameters_before(name: str, end: str) -> frozenset[str]:
    """Names of the parameters of a 2-D backbone on which the output of the module ``end`` depends.

    They are found with a backward pass on the meta device, which computes shapes only: the order in which a network's
    modules were made need not be that in which they run.
    """
    sums: list[Tensor] = []
    with torch.device("meta"), torch.enable_grad():
        backbone, _ = build_frame_backbone(name)
        backbone.eval().get_submodule(end).register_forward_hook(lambda *found: sums.append(found[-1].sum()))
        size = backbone.input_size if isinstance(backbone, TimmBackbone) else (64, 64)
        backbone(torch.empty(1, 3, *size))
        parameters = dict(backbone.named_parameters())
        gradients = torch.autograd.grad(sums[0], list(parameters.values()), allow_unused=True)
    return frozenset(name for name, gradient in zip(parameters, gradients, strict=True) if gradient is not None)


def _whole_modules(module: nn.Module, prefix: str, names: Set[str]) -> Iterator[nn.Module]:
    """The largest modules that have parameters, all of them among ``names``."""
    own = [f"{prefix}{name}" for name, _ in module.named_parameters()]
    if own and all(name in names for name in own):
        yield module
        return
    for name, child in module.named_children():
        yield from _whole_modules(child, f"{prefix}{name}.", names)
