"""The mixture of experts against its formula, far from 0 and in few bits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from reskd.models.aggregators.config import MixtureOfExpertsConfig
from reskd.models.families.heads import MixtureOfExperts


def _mixture(**settings: Any) -> MixtureOfExperts:
    torch.manual_seed(0)
    config = MixtureOfExpertsConfig(kind="mixture_of_experts", **settings)
    return MixtureOfExperts(config, 4, 3).double()


def _probabilities(head: MixtureOfExperts, embedding_NE: Tensor) -> Tensor:
    """One video, class and expert after another."""
    found = torch.zeros(len(embedding_NE), 3, dtype=torch.float64)
    num_experts = head.experts.out_features // 3
    for video, embedding_E in enumerate(embedding_NE):
        for number in range(3):
            gates = head.gates.weight[number * (num_experts + 1) : (number + 1) * (num_experts + 1)] @ embedding_E
            experts = slice(number * num_experts, (number + 1) * num_experts)
            yes = (head.experts.weight[experts] @ embedding_E + head.experts.bias[experts]).sigmoid()
            found[video, number] = (gates.softmax(0)[1:] * yes).sum()
    return found


@pytest.mark.parametrize("num_experts", [1, 2, 3])
@torch.no_grad()
def test_the_sigmoid_of_the_logit_is_the_mixtures_probability(num_experts: int) -> None:
    head = _mixture(num_experts=num_experts)
    head.experts.bias.normal_()
    embedding_NE = 3 * torch.randn(5, 4, dtype=torch.float64)
    torch.testing.assert_close(head(embedding_NE).sigmoid(), _probabilities(head, embedding_NE))


@torch.no_grad()
def test_gated_probabilities_are_probabilities_times_gates() -> None:
    head = _mixture(gate_probabilities=True).eval()
    assert head.probability_gates is not None
    head.probability_gates.norm.running_mean.normal_()
    embedding_NE = 3 * torch.randn(5, 4, dtype=torch.float64)
    p_NK = _probabilities(head, embedding_NE)
    gates_NK = head.probability_gates.norm(p_NK @ head.probability_gates.gate.weight.T).sigmoid()
    torch.testing.assert_close(head(embedding_NE).sigmoid(), p_NK * gates_NK)


@pytest.mark.parametrize("gated", [False, True])
def test_gradients_are_those_of_finite_differences(gated: bool) -> None:
    head = _mixture(gate_probabilities=gated).eval()
    embedding_NE = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(head, embedding_NE)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("size", [1.0, 1e2, 1e4])
def test_extreme_scores_give_finite_logits_that_fp64_confirms(gated: bool, size: float) -> None:
    head = _mixture(gate_probabilities=gated).eval()
    embedding_NE = size * torch.randn(64, 4, dtype=torch.float64)
    with torch.no_grad():
        expected_NK = head(embedding_NE)
    head.float()
    embedding_NE = embedding_NE.float().requires_grad_()
    found_NK = head(embedding_NE)
    found_NK.sum().backward()
    assert embedding_NE.grad is not None and embedding_NE.grad.isfinite().all()
    torch.testing.assert_close(found_NK.double(), expected_NK, rtol=1e-4, atol=1e-4 * size)
    if size > 1:
        assert found_NK.abs().max() > 20, "p alone would have rounded to 0 or 1"


def test_the_mixture_is_computed_in_fp32_under_autocast() -> None:
    head = _mixture(gate_probabilities=True).float().eval()
    embedding_NE = 300 * torch.randn(16, 4)
    expected_NK = head(embedding_NE)
    with torch.autocast("cpu", torch.bfloat16):
        found_NK = head(embedding_NE)
    assert found_NK.dtype == torch.float32
    assert found_NK.isfinite().all()
    assert (found_NK - expected_NK).abs().max() < 0.05 * expected_NK.abs().max()
