"""Heads, from an embedding to logits. Under sigmoid scores, class k has probability sigmoid(logits_NK[:, k]).

Shape letters: N videos, E embedding, K classes, X experts of a class.

Note [The logit of a mixture]
With gates softmax(g_0, g_1, ...), where g_0 is the dummy's, and experts sigmoid(a_x), p = sum of gate_x * sigmoid(a_x)
over x >= 1, and 1 - p = gate_0 + sum of gate_x * sigmoid(-a_x). Both have the same denominator, so

    log p - log(1 - p) = logsumexp_x(g_x + log sigmoid(a_x)) - logsumexp(g_0, g_x + log sigmoid(-a_x)),

which exponentiates only numbers that were first made small. Computed from p, the logit would be lost where p rounds to
0 or 1, which happens early in 16 bits.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reskd.models.aggregators.config import ClassifierConfig, LinearHeadConfig, MixtureOfExpertsConfig
from reskd.models.aggregators.masking import at_least_fp32


class MixtureOfExperts(nn.Module):
    """YouTube-8M's classifier: logistic experts and softmax gates for each class, and a dummy that always predicts no.

    Args:
        config: ``gate_probabilities`` multiplies p by sigmoid(batch norm(W p)) (Willow's recipe, arXiv:1706.06905).
    """

    def __init__(self, config: MixtureOfExpertsConfig, embedding_dim: int, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.gates = nn.Linear(embedding_dim, num_classes * (config.num_experts + 1), bias=False)
        self.experts = nn.Linear(embedding_dim, num_classes * config.num_experts)
        for layer in (self.gates, self.experts):
            nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(self.experts.bias)
        self.probability_gates: ProbabilityGates | None = None
        if config.gate_probabilities:
            self.probability_gates = ProbabilityGates(num_classes)

    def forward(self, embedding_NE: Tensor) -> Tensor:
        """logits_NK, fp32 (fp64 for fp64). See Note [The logit of a mixture]."""
        gates_NKX = at_least_fp32(self.gates(embedding_NE)).unflatten(-1, (self.num_classes, -1))
        experts_NKX = at_least_fp32(self.experts(embedding_NE)).unflatten(-1, (self.num_classes, -1))
        dummy_NK1, gates_NKX = gates_NKX[..., :1], gates_NKX[..., 1:]
        yes_NK = (gates_NKX + F.logsigmoid(experts_NKX)).logsumexp(-1)
        no_NK = torch.cat((dummy_NK1, gates_NKX + F.logsigmoid(-experts_NKX)), -1).logsumexp(-1)
        logits_NK = yes_NK - no_NK
        return logits_NK if self.probability_gates is None else self.probability_gates(logits_NK)


class ProbabilityGates(nn.Module):
    """p -> p * sigmoid(batch norm(W p)), with p as a logit on both sides."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.gate = nn.Linear(num_classes, num_classes, bias=False)
        self.norm = nn.BatchNorm1d(num_classes)
        nn.init.normal_(self.gate.weight, std=num_classes**-0.5)

    def forward(self, logits_NK: Tensor) -> Tensor:
        gates_NK = at_least_fp32(self.norm(self.gate(logits_NK.sigmoid())))
        log_p_NK = F.logsigmoid(logits_NK)
        # 1 - p * s = (1 - p) + p * (1 - s) subtracts no nearly equal numbers.
        log_not_NK = torch.logaddexp(F.logsigmoid(-logits_NK), log_p_NK + F.logsigmoid(-gates_NK))
        return log_p_NK + F.logsigmoid(gates_NK) - log_not_NK


def build_head(config: ClassifierConfig, embedding_dim: int, num_classes: int) -> nn.Module:
    """embedding_NE -> logits_NK, with random weights."""
    if isinstance(config, LinearHeadConfig):
        return linear_head(embedding_dim, num_classes, init_std=config.init_std)
    return MixtureOfExperts(config, embedding_dim, num_classes)


def linear_head(embedding_dim: int, num_classes: int, *, init_std: float) -> nn.Linear:
    """A linear layer with normal weights and biases of 0."""
    head = nn.Linear(embedding_dim, num_classes)
    nn.init.normal_(head.weight, std=init_std)
    nn.init.zeros_(head.bias)
    return head
