"""Blocks that keep only their input for the backward pass and compute the rest again there (arXiv:1604.06174).

The result is the same to the bit: dropped paths are drawn again from the same state of the generator, and batch norm
normalizes with the same batch. It must not count that batch twice, though: while a block is computed again, its batch
norms update copies of their statistics, which are then dropped.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from reskd.models.backbones.blocks import block_names


def recompute_blocks(backbone: nn.Module, name: str) -> None:
    """Change the blocks of a backbone in place; names of parameters and buffers stay.

    Args:
        name: of the backbone, for errors.

    Raises:
        ValueError: see ``block_names``.
    """
    for one in block_names(backbone, name):
        block = backbone.get_submodule(one)
        # A subclass, not a wrapper or another ``forward``: names stay, and so does what a copy of the block refers to.
        block.__class__ = _recomputed(type(block))  # type: ignore[arg-type]


@functools.cache  # one class for each kind of block
def _recomputed(kind: type[nn.Module]) -> type[nn.Module]:
    class Recomputed(kind):  # type: ignore[misc,valid-type]
        def forward(self, *inputs: Any, **settings: Any) -> Any:
            compute = super().forward
            if not (self.training and torch.is_grad_enabled()):
                return compute(*inputs, **settings)
            if torch.compiler.is_compiling():  # the compiler repeats arithmetic, not the update of statistics
                return checkpoint(compute, *inputs, use_reentrant=False, **settings)
            contexts = functools.partial(_contexts, self)
            return checkpoint(compute, *inputs, use_reentrant=False, context_fn=contexts, **settings)

    Recomputed.__name__ = Recomputed.__qualname__ = f"Recomputed{kind.__name__}"
    return Recomputed


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Of the first pass and of the second."""
    return nullcontext(), _statistics_kept(block)


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Batch norms in the block update copies of their statistics. Without any, autograd would save other tensors."""
    found = [module for module in block.modules() if isinstance(module, _BatchNorm) and module.training]
    kept = [dict(module._buffers) for module in found]
    try:
        for module, buffers in zip(found, kept, strict=True):
            module._buffers.update({name: None if one is None else one.clone() for name, one in buffers.items()})
        yield
    finally:
        for module, buffers in zip(found, kept, strict=True):
            module._buffers.update(buffers)
