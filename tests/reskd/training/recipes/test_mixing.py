from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from dali_pipes.batch import ClipBatch, View
from reskd.training.recipes.mixing import Mix, Mixer, choose_mix, mix_view, unmixed
from reskd.training.settings.recipes import MixingConfig, check_mixing
from tests.reskd.training.tiny import noise_clips

MIXUP = MixingConfig(mixup_alpha=0.8)
CUTMIX = MixingConfig(cutmix_alpha=1.0)
BOTH = MixingConfig(mixup_alpha=0.8, cutmix_alpha=1.0, probability=0.8)


def mixed(config: MixingConfig, first: int, num_clips: int, seed: int = 3) -> tuple[ClipBatch, torch.Tensor]:
    positions_N = np.arange(first, first + num_clips)
    return Mixer(config, seed=seed, num_classes=3)(noise_clips(torch.from_numpy(positions_N)), positions_N)


def test_a_blend_is_the_weighted_sum_of_both_clips_and_of_their_labels() -> None:
    plain, (batch, targets_NK) = noise_clips(torch.arange(4, 10)), mixed(MIXUP, 4, 6)
    for pair in range(3):
        share = choose_mix(MIXUP, 3, 2 + pair, (8, 8)).share
        for own, other in ((2 * pair, 2 * pair + 1), (2 * pair + 1, 2 * pair)):
            for name, view in plain.views.items():
                expected = share * view.data[own].double() + (1 - share) * view.data[other].double()
                assert (batch.views[name].data[own].double() - expected).abs().max() <= 0.5 + 1e-4
            expected_K = share * torch.eye(3)[plain.labels_N[own]] + (1 - share) * torch.eye(3)[plain.labels_N[other]]
            torch.testing.assert_close(targets_NK[own], expected_K)
            larger = own if share >= 0.5 else other
            assert batch.labels_N[own] == plain.labels_N[larger]


def test_a_pasted_box_is_the_same_part_of_both_views_and_gives_the_exact_share() -> None:
    plain, (batch, targets_NK) = noise_clips(torch.arange(0, 16)), mixed(CUTMIX, 0, 16)
    found = 0
    for own in range(16):
        other = own ^ 1
        masks = {}
        for name, view in plain.views.items():
            is_own = (batch.views[name].data[own] == view.data[own]).all(-1)
            is_other = (batch.views[name].data[own] == view.data[other]).all(-1)
            assert (is_own | is_other).all()
            masks[name] = (~is_own).all(0)  # all frames have the same box; noise is hardly ever equal
        small, large = masks["student"], masks["teacher"]
        assert torch.equal(small.repeat_interleave(2, 0).repeat_interleave(2, 1), large)
        share = 1 - small.float().mean()
        assert targets_NK[own, plain.labels_N[own]] == pytest.approx(share.item(), abs=1e-6)
        found += bool(0 < small.sum() < small.numel())
    assert found > 8


@pytest.mark.parametrize("config", [MIXUP, CUTMIX, BOTH])
def test_the_mix_of_a_position_depends_on_no_split_of_the_step(config: MixingConfig) -> None:
    whole, targets_NK = mixed(config, 8, 8)
    for size in (2, 4):
        parts = [mixed(config, first, size) for first in range(8, 16, size)]
        assert torch.equal(torch.cat([part for _, part in parts]), targets_NK)
        for name, view in whole.views.items():
            assert torch.equal(torch.cat([batch.views[name].data for batch, _ in parts]), view.data)
    assert not torch.equal(mixed(config, 8, 8, seed=4)[1], targets_NK)


def test_shares_have_the_distribution_of_the_paper() -> None:
    for alpha in (0.2, 1.0, 4.0):
        shares = [choose_mix(MixingConfig(mixup_alpha=alpha), 1, pair, (8, 8)).share for pair in range(4000)]
        assert np.mean(shares) == pytest.approx(0.5, abs=0.02)
        assert np.var(shares) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.08)


def test_some_pairs_stay_as_they_are_and_both_methods_get_their_share() -> None:
    config = MixingConfig(mixup_alpha=1.0, cutmix_alpha=1.0, probability=0.6, cutmix_share=0.25)
    mixes = [choose_mix(config, 1, pair, (8, 8)) for pair in range(4000)]
    assert np.mean([mix == Mix(1.0, None) for mix in mixes]) == pytest.approx(0.4, abs=0.03)
    assert np.mean([mix.box is not None for mix in mixes]) == pytest.approx(0.6 * 0.25, abs=0.02)


def test_an_unmixed_pair_keeps_its_bytes_labels_and_valid_frames() -> None:
    view = noise_clips(torch.arange(2)).views["student"]
    assert isinstance(view, View)
    view = dataclasses.replace(view, valid_NT=torch.tensor([[True, False], [True, True]]))
    none = torch.full((2, 4), math.nan)
    same = mix_view(view, torch.ones(2), none)
    assert torch.equal(same.data, view.data) and torch.equal(same.valid_NT, view.valid_NT)
    half = mix_view(view, torch.full((2,), 0.5), none)
    assert half.valid_NT.all() and torch.equal(half.data[0], half.data[1])


def test_a_box_is_rounded_in_a_view_that_is_no_multiple_of_the_other() -> None:
    data = torch.stack([torch.zeros(1, 10, 10, 3), torch.full((1, 10, 10, 3), 200)]).to(torch.uint8)
    view = View(data, torch.zeros((2, 1), dtype=torch.int64), torch.ones((2, 1), dtype=torch.bool))
    box = torch.tensor([0.0, 3 / 7, 2 / 7, 1.0]).expand(2, 4)  # of a view of 7 x 7
    pasted = mix_view(view, torch.ones(2), box).data[0, 0, :, :, 0] == 200
    assert pasted[:4, 3:].all() and pasted.sum() == 4 * 7


def test_label_sets_are_mixed_too() -> None:
    positions_N = np.arange(2)
    plain = noise_clips(torch.arange(2))
    sets_NK = torch.tensor([[True, True, False], [False, True, True]])
    batch, targets_NK = Mixer(MIXUP, seed=3, num_classes=3)(
        dataclasses.replace(plain, label_sets_NK=sets_NK), positions_N
    )
    share = choose_mix(MIXUP, 3, 0, (8, 8)).share
    torch.testing.assert_close(targets_NK, torch.tensor([[share, 1, 1 - share], [1 - share, 1, share]]))
    assert batch.label_sets_NK is not None and batch.label_sets_NK.dtype == torch.bool


def test_without_mixing_the_batch_stays_the_same_object() -> None:
    plain = noise_clips(torch.arange(3))
    batch, targets = unmixed(plain, np.arange(3))
    assert batch is plain and targets is plain.labels_N


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "expected mixup_alpha, cutmix_alpha or both"),
        ({"mixup_alpha": 0.2, "cutmix_share": 0.5}, "cutmix_share chooses between mixup and CutMix"),
        ({"mixup_alpha": 0}, "greater than 0"),
        ({"mixup_alpha": 1, "probability": 0}, "greater than 0"),
    ],
)
def test_settings_that_mix_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MixingConfig(**settings)


def test_a_loss_that_takes_no_shares_and_features_are_refused() -> None:
    check_mixing("softmax_ce", on_features=False)
    with pytest.raises(ValueError, match="loss.task = random_label_ce takes whole labels only; expected softmax_ce"):
        check_mixing("random_label_ce", on_features=False)
    with pytest.raises(ValueError, match="training.mixing mixes pixels, and data.kind is features"):
        check_mixing("sigmoid_bce", on_features=True)
