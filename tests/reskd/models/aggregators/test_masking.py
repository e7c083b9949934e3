"""Batch norm of valid frames."""

from __future__ import annotations

import torch
from torch import nn

from reskd.models.aggregators.masking import FrameBatchNorm, unit_length


def test_statistics_are_those_of_the_valid_frames_alone() -> None:
    torch.manual_seed(0)
    features_NTD, valid_NT = torch.randn(3, 5, 4), torch.rand(3, 5) < 0.6
    ours, theirs = FrameBatchNorm(4), nn.BatchNorm1d(4)
    for _ in range(2):
        found_NTD = ours(features_NTD.masked_fill(~valid_NT[..., None], 100.0), valid_NT)
        expected_MD = theirs(features_NTD[valid_NT])
        torch.testing.assert_close(found_NTD[valid_NT], expected_MD)
    torch.testing.assert_close(dict(ours.named_buffers()), dict(theirs.named_buffers()))


def test_without_a_mask_and_with_a_full_one_it_is_the_plain_one() -> None:
    features_NTD = torch.randn(3, 5, 4)
    layers = [FrameBatchNorm(4), FrameBatchNorm(4), nn.BatchNorm1d(4)]
    plain_NTD = layers[2](features_NTD.flatten(0, 1)).view(3, 5, 4)
    torch.testing.assert_close(layers[0](features_NTD), plain_NTD)
    torch.testing.assert_close(layers[1](features_NTD, torch.ones(3, 5, dtype=torch.bool)), plain_NTD)
    torch.testing.assert_close(layers[0].running_var, layers[2].running_var)
    torch.testing.assert_close(layers[1].running_var, layers[2].running_var)


def test_a_batch_without_frames_leaves_the_running_statistics() -> None:
    layer = FrameBatchNorm(4)
    layer.running_mean.fill_(3)
    layer(torch.randn(3, 5, 4), torch.zeros(3, 5, dtype=torch.bool))
    assert layer.running_mean.eq(3).all() and layer.running_var.eq(1).all()


def test_a_teacher_may_use_the_batchs_statistics_and_keep_its_own() -> None:
    """As Teacher sets it: see its Note [No stored buffers]."""
    layer = FrameBatchNorm(4)
    layer.track_running_stats = False
    features_NTD = 5 + torch.randn(3, 5, 4)
    valid_NT = torch.ones(3, 5, dtype=torch.bool)
    assert layer(features_NTD, valid_NT).mean().abs() < 1e-5
    assert not layer.running_mean.any() and layer.num_batches_tracked == 0


def test_a_vector_of_zeros_stays_and_its_gradient_is_finite() -> None:
    vectors = torch.tensor([[0.0, 0.0], [3.0, 4.0], [1e-8, 0.0]], requires_grad=True)
    found = unit_length(vectors)
    torch.testing.assert_close(found[:2], torch.tensor([[0.0, 0.0], [0.6, 0.8]]))
    found.sum().backward()
    assert vectors.grad is not None and vectors.grad.isfinite().all()
