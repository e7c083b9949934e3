"""What holds for every aggregator: values, masks, no frames, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.reskd.models.families.aggregated import GROUPS, SETTINGS, make_aggregator, make_features, reference

torch.set_num_threads(1)
KINDS = list(SETTINGS)


def _valid(*counts: int, num_frames: int) -> Tensor:
    return torch.arange(num_frames) < torch.tensor(counts)[:, None]


@pytest.mark.parametrize("num_frames", [1, 3, 7])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_values_are_those_of_slow_loops(kind: str, num_frames: int) -> None:
    aggregator = make_aggregator(kind).eval()
    features_NTD = make_features(3, num_frames)
    expected_NE = np.stack([reference(aggregator, video.numpy(), kind) for video in features_NTD])
    found_NE = aggregator(features_NTD)
    assert found_NE.shape == (3, aggregator.embedding_dim)
    np.testing.assert_allclose(found_NE.numpy(), expected_NE, rtol=1e-9, atol=1e-11)
    all_valid = torch.ones(3, num_frames, dtype=torch.bool)
    np.testing.assert_allclose(aggregator(features_NTD, all_valid).numpy(), expected_NE, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_only_valid_frames_are_seen_and_more_padding_changes_nothing(kind: str) -> None:
    aggregator = make_aggregator(kind).eval()
    features_NTD, counts = make_features(5, 7), (7, 4, 3, 1, 0)
    expected_NE = np.stack(
        [reference(aggregator, v[:n].numpy(), kind) for v, n in zip(features_NTD, counts, strict=True)]
    )
    for padding in (0, 1, 6):
        longer_NTD = torch.nn.functional.pad(features_NTD, (0, 0, 0, padding), value=3.0)
        found_NE = aggregator(longer_NTD, _valid(*counts, num_frames=7 + padding))
        np.testing.assert_allclose(found_NE.numpy(), expected_NE, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", ["mean", "netvlad", "nextvlad", "h_rnn"])
@torch.no_grad()
def test_frames_may_be_missing_in_the_middle(kind: str) -> None:
    aggregator = make_aggregator(kind).eval()
    features_NTD = make_features(1, 9)
    # Of blocks of 3: the second is empty, the third has lost its first frame.
    valid_NT = torch.tensor([[True, False, True, False, False, False, False, True, True]])
    seen_TD = features_NTD[0, valid_NT[0]].numpy()
    if kind == "h_rnn":
        # Blocks stay stretches of the clip: two frames each, not three and one.
        four = make_aggregator(kind, block_length=2).eval()
        expected_E = four(torch.from_numpy(seen_TD)[None])[0].numpy()
    else:
        expected_E = reference(aggregator, seen_TD, kind)
    np.testing.assert_allclose(aggregator(features_NTD, valid_NT)[0].numpy(), expected_E, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_what_lies_in_invalid_frames_changes_nothing_to_the_bit(kind: str, training: bool, dtype: torch.dtype) -> None:
    features_NTD = make_features(4, 7).to(dtype)
    valid_NT = _valid(5, 7, 2, 0, num_frames=7)
    answers, statistics = [], []
    for filling in (0.0, 1e4, float("nan")):
        aggregator = make_aggregator(kind).to(dtype).train(training)
        filled_NTD = torch.where(valid_NT[..., None], features_NTD, filling)
        torch.manual_seed(1)  # of dropout
        answers.append(aggregator(filled_NTD, valid_NT))
        statistics.append(dict(aggregator.named_buffers()))
    for answer, buffers in zip(answers[1:], statistics[1:], strict=True):
        assert torch.equal(answer, answers[0])
        assert all(torch.equal(value, statistics[0][name]) for name, value in buffers.items())


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_finite_without_frames_and_none_reaches_what_is_not_there(kind: str, training: bool) -> None:
    aggregator = make_aggregator(kind).float().train(training)
    features_NTD = make_features(4, 7).float().requires_grad_()
    for counts in ((5, 7, 2, 0), (0, 0, 0, 0)):
        valid_NT = _valid(*counts, num_frames=7)
        embedding_NE = aggregator(features_NTD, valid_NT)
        assert embedding_NE.isfinite().all()
        features_NTD.grad = None
        embedding_NE.square().sum().backward()
        assert features_NTD.grad is not None
        assert features_NTD.grad.isfinite().all()
        assert not features_NTD.grad[~valid_NT].any()
        assert bool(features_NTD.grad[valid_NT].any()) == any(counts)
        assert all(value.grad is not None and value.grad.isfinite().all() for value in aggregator.parameters())


@pytest.mark.parametrize("kind", ["h_rnn", "netvlad", "nextvlad"])
def test_gradients_are_those_of_finite_differences(kind: str) -> None:
    """Through the batch's statistics of valid frames too."""
    aggregator = make_aggregator(kind, **({"dropout": 0} if kind == "nextvlad" else {})).train()
    features_NTD = make_features(2, 4).requires_grad_()
    valid_NT = _valid(4, 2, num_frames=4)
    torch.manual_seed(0)
    weights_NE = torch.randn(2, aggregator.embedding_dim, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: (aggregator(x, valid_NT) * weights_NE).sum(), features_NTD)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns_and_bf16_is_close(kind: str) -> None:
    aggregator = make_aggregator(kind).float().eval()
    features_NTD = make_features(3, 7).float()
    expected_NE = aggregator(features_NTD.requires_grad_())
    expected_NE.square().sum().backward()
    assert all(value.grad is not None and value.grad.any() for value in aggregator.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        found_NE = aggregator(features_NTD)
    assert (found_NE.float() - expected_NE).abs().max() < 0.1 * expected_NE.abs().max()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_scaled_gradients_are_finite_in_16_bits_with_no_frames_or_tiny_shares(kind: str, dtype: torch.dtype) -> None:
    aggregator = make_aggregator(kind).float().train()
    for name, parameter in aggregator.named_parameters():
        if name.endswith("assign_norm.weight"):
            parameter.data.fill_(8)  # shares of some clusters that 16 bits round to 0
    features_NTD = torch.nn.functional.normalize(make_features(5, 7).float(), dim=-1).requires_grad_()
    with torch.autocast("cpu", dtype):
        embedding_NE = aggregator(features_NTD, _valid(5, 7, 2, 1, 0, num_frames=7))
    (embedding_NE.float().square().sum() * 2**8).backward()
    assert embedding_NE.isfinite().all()
    for value in (features_NTD, *aggregator.parameters()):
        assert value.grad is not None and value.grad.isfinite().all()


@pytest.mark.parametrize("kind", ["netvlad", "nextvlad"])
def test_one_group_is_enough_and_sizes_follow_the_first(kind: str) -> None:
    alone = make_aggregator(kind, {"backbone": 8})
    embedding_NE = alone.eval()(make_features(2, 3, {"backbone": 8}))
    assert embedding_NE.shape == (2, alone.embedding_dim)
    both = make_aggregator(kind)
    clusters = {name: len(value) for name, value in both.named_parameters() if ".centers" in name}
    assert list(clusters.values()) == [5, 2]
    assert sum(GROUPS.values()) == 10


def test_a_single_video_cannot_be_normalized_in_training() -> None:
    aggregator = make_aggregator("netvlad").train()
    with pytest.raises(ValueError, match=r"expected 2 videos or more in a training pass, found 1; raise"):
        aggregator(make_features(1, 3))


def test_splits_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"expected 2 times the 6 features of rgb to be cut into 5 equal splits, fo"):
        make_aggregator("nextvlad", num_splits=5)
    with pytest.raises(ValueError, match=r"expected hidden_dim of at least gating_reduction = 8, found 4"):
        make_aggregator("nextvlad", hidden_dim=4, gating_reduction=8)
