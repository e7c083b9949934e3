"""Weights of terms with ``alpha: auto``, measured so that each term's gradient is as large as the task's.

Note [How an automatic weight is found]
GradNorm (arXiv:1711.02257, Chen et al. 2018) keeps the gradient norms of several tasks in balance by learning their
weights all through a run. Here the balance is struck once: in each of a run's first ``loss.auto_steps`` steps the
squares of the gradients of the weighted task and of each automatic term at weight 1 are summed, where diagnostics.py
compares gradients, and the weight is the root of the ratio of the sums. The weight of a step comes from the steps
before it, so all passes of a step share it, and the first step learns from the task alone. After the last measured step
it stays, so the loss that is minimized has fixed weights, as one set by hand.

A pass whose gradients overflow, as in fp16, is left out. A term without any gradient keeps the weight 0.

Shape letters: M automatic terms.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class AutoWeights(nn.Module):
    """The weights and what they are measured from. All is in buffers: a checkpoint holds it, and nothing is waited for.

    Args:
        names: of the automatic terms.
        num_steps: ``loss.auto_steps``.
    """

    squares: Tensor  # float32 (1 + M,): sums for the task, then for each term
    weights_M: Tensor

    def __init__(self, names: Sequence[str], num_steps: int) -> None:
        super().__init__()
        self.names = tuple(names)
        self.num_steps = num_steps
        self.register_buffer("squares", torch.zeros(1 + len(self.names)))
        self.register_buffer("weights_M", torch.zeros(len(self.names)))

    def measures(self, step: int) -> bool:
        """Whether step number ``step``, counted from 1, is measured."""
        return step <= self.num_steps

    def by_name(self) -> dict[str, Tensor]:
        """Term -> its weight in this step, a 0-d tensor of its own."""
        return dict(zip(self.names, self.weights_M.clone().unbind(), strict=True))

    @torch.no_grad()
    def add(self, squares: Tensor) -> None:
        """Count one pass. ``squares``: as the buffer, equal on all ranks; any finite multiple of the squared norms."""
        self.squares += torch.where(squares.isfinite().all(), squares, torch.zeros_like(squares))

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of the next step from all that was counted. In place: DDP holds on to the buffers."""
        task, terms_M = self.squares[0].sqrt(), self.squares[1:].sqrt()
        self.weights_M.copy_(torch.where(terms_M > 0, task / terms_M, torch.zeros_like(terms_M)))
