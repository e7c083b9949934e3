"""Parts of a backbone that the training keeps as the initial weights have them."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from reskd.models.config import PixelRecognizerConfig


def keep_parts(backbone: nn.Module, config: PixelRecognizerConfig) -> tuple[nn.Module, ...]:
    """Freeze the parameters of the parts that ``config`` keeps; returns the modules to hold in eval mode.

    Raises:
        ValueError: the backbone has no such part.
    """
    return _batch_norms(backbone, config.backbone) if config.batch_norm == "running_stats" else ()


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
