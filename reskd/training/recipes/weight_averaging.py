"""An exponential moving average of the student's weights, which is scored, exported and taught from in their place.

Averages of the iterates: Polyak and Juditsky 1992 (doi:10.1137/0330046); the exponential kind for networks: mean
teacher (arXiv:1703.01780), and most recipes of timm and torchvision.

Note [What is averaged]
Parameters and floating-point buffers, the statistics of batch norm among them, as in timm's ModelEmaV3: statistics of
the averaged network are closer to the average of the statistics than to the last ones. Counters are copied. A parameter
that is not trained stays as it is, to the bit. In a run of several processes each averages its own buffers, and before
a validation all get those of rank 0, which writes the checkpoints; so only rank 0's ever count.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from reskd.training.settings.recipes import AverageConfig


class WeightAverage:
    """The averaged network of a run: see Note [What is averaged].

    Args:
        network: on its device; the average starts from its weights.

    Attributes:
        network: a copy in eval mode, of which nothing requires a gradient.
    """

    def __init__(self, config: AverageConfig, network: nn.Module) -> None:
        self._config = config
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        trained = {name: value for name, value in network.named_parameters() if value.requires_grad}
        buffers = {name: value for name, value in network.named_buffers() if name in network.state_dict()}
        mine = dict(self.network.named_parameters()) | dict(self.network.named_buffers())
        averaged = trained | {name: value for name, value in buffers.items() if value.is_floating_point()}
        copied = {name: value for name, value in buffers.items() if name not in averaged}
        # Tensors are changed in place only, so these lists stay right.
        self._averages: list[Tensor] = [mine[name] for name in averaged]
        self._averaged: list[Tensor] = [value.detach() for value in averaged.values()]
        self._copies: list[Tensor] = [mine[name] for name in copied]
        self._copied: list[Tensor] = list(copied.values())

    @torch.no_grad()
    def update(self, num_steps: int) -> None:
        """After step number ``num_steps``, counted from 1; nothing waits for the device."""
        torch._foreach_lerp_(self._averages, self._averaged, 1 - self._config.decay_at(num_steps))
        if self._copies:
            torch._foreach_copy_(self._copies, self._copied)


def average_of(network: nn.Module, config: AverageConfig | None) -> WeightAverage | None:
    """The average of a network that is about to be trained or resumed; None without settings."""
    return None if config is None else WeightAverage(config, network)
