"""Label smoothing, class weights and shares of labels; the plain losses are tested in test_distillation.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from reskd.losses.config import LossConfig
from reskd.losses.distillation import DistillationLoss
from reskd.losses.task import (
    TASK_LOSSES,
    check_class_weights,
    random_label_ce,
    sigmoid_bce,
    softmax_ce,
    weights_of_classes,
)

LOGITS_NK = torch.randn((4, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS_N = torch.tensor([1, 0, 2, 1])
SETS_NK = torch.tensor([[1, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 1]]).bool()
WEIGHTS_K = torch.tensor([0.5, 1.0, 3.0])
ONE_HOT_NK = torch.eye(3, dtype=torch.float64)[LABELS_N]


def test_smoothing_is_the_loss_of_the_smoothed_labels() -> None:
    smoothed_NK = 0.9 * ONE_HOT_NK + 0.1 / 3
    expected = -(smoothed_NK * LOGITS_NK.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(softmax_ce(LOGITS_NK, LABELS_N, label_smoothing=0.1), expected)
    torch.testing.assert_close(softmax_ce(LOGITS_NK, ONE_HOT_NK.float(), label_smoothing=0.1), expected)


def test_weights_multiply_the_loss_of_each_label() -> None:
    of_clip_N = -LOGITS_NK.log_softmax(1)[range(4), LABELS_N]
    expected = (WEIGHTS_K[LABELS_N] * of_clip_N).mean()
    for found in (softmax_ce, random_label_ce):
        torch.testing.assert_close(found(LOGITS_NK, LABELS_N, class_weights_K=WEIGHTS_K), expected)
    p = LOGITS_NK.sigmoid()
    terms_NK = -(WEIGHTS_K * SETS_NK * p.log() + ~SETS_NK * (1 - p).log())
    torch.testing.assert_close(sigmoid_bce(LOGITS_NK, SETS_NK, class_weights_K=WEIGHTS_K), terms_NK.sum() / 4)


@pytest.mark.parametrize("name", ["softmax_ce", "sigmoid_bce"])
def test_the_loss_of_shares_is_the_share_of_the_losses(name: Any) -> None:
    """As mixing needs it, with and without weights."""
    loss = TASK_LOSSES[name]
    for weights_K in (None, WEIGHTS_K):
        mixed_NK = 0.3 * ONE_HOT_NK + 0.7 * ONE_HOT_NK.flip(0)
        parts = (loss(LOGITS_NK, one, class_weights_K=weights_K) for one in (LABELS_N, LABELS_N.flip(0)))
        first, second = parts
        found = loss(LOGITS_NK, mixed_NK.float(), class_weights_K=weights_K)
        torch.testing.assert_close(found, 0.3 * first + 0.7 * second, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["softmax_ce", "random_label_ce", "sigmoid_bce"])
def test_the_loss_of_a_batch_is_the_mean_of_that_of_its_halves(name: Any) -> None:
    """So it does not depend on how many clips a pass has."""
    loss = TASK_LOSSES[name]
    halves = [loss(LOGITS_NK[half], LABELS_N[half], class_weights_K=WEIGHTS_K) for half in (slice(2), slice(2, 4))]
    whole = loss(LOGITS_NK, LABELS_N, class_weights_K=WEIGHTS_K)
    torch.testing.assert_close(whole, torch.stack(halves).mean())


def test_balanced_weights_are_inverse_frequencies_with_mean_1_over_the_videos() -> None:
    counts = [40, 10, 0, 50]
    weights_K = weights_of_classes("balanced", counts, ["a", "b", "c", "d"])
    assert weights_K is not None and weights_K.dtype == torch.float32
    assert weights_K[1] / weights_K[0] == pytest.approx(4) and weights_K[2] == 1
    assert (weights_K * torch.tensor(counts)).sum() / 100 == pytest.approx(1)


def test_weights_by_name_and_by_order() -> None:
    names = ["run", "jump", "walk"]
    for setting in ({"jump": 3.0}, (1.0, 3.0, 1.0)):
        weights_K = weights_of_classes(setting, [1, 1, 1], names)
        assert weights_K is not None and weights_K.tolist() == [1, 3, 1]
    assert weights_of_classes("none", [1, 1, 1], names) is None


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ((1.0, 2.0), "expected 3 weights, one a class in order, found 2"),
        ({"jmup": 2.0}, "found 'jmup'; did you mean 'jump'?"),
        ({"zebra": 2.0}, "expected names of classes, as 'run', 'jump', 'walk', found 'zebra'; leave it out"),
    ],
)
def test_weights_of_other_classes_are_refused(setting: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        check_class_weights(setting, ["run", "jump", "walk"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_smoothing": 0.1, "task": "sigmoid_bce"}, "label_smoothing = 0.1 spreads the one label of a video"),
        ({"label_smoothing": 0.1, "task": "random_label_ce"}, "expected softmax_ce, or leave label_smoothing out"),
        ({"label_smoothing": 1}, "less than 1"),
        ({"class_weights": "even"}, "expected none, balanced, or a list or a mapping .* found 'even'"),
        ({"class_weights": [1, -1]}, "numbers from 0 to 1e.06"),
        ({"class_weights": {"a": "b"}}, "numbers from 0"),
        ({"class_weights": []}, "found '\\[\\]'"),
        ({"class_weights": [float("nan")]}, "numbers from 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LossConfig(**settings)


def test_the_loss_module_smooths_and_weighs_and_saves_no_weights() -> None:
    module = DistillationLoss(LossConfig(label_smoothing=0.1, class_weights=(0.5, 1, 3)))
    module.class_weights_K = WEIGHTS_K
    expected = softmax_ce(LOGITS_NK, LABELS_N, label_smoothing=0.1, class_weights_K=WEIGHTS_K)
    assert torch.equal(module.task(LOGITS_NK, LABELS_N), expected)
    assert "class_weights_K" in dict(module.named_buffers()) and not module.state_dict()
    assert torch.equal(DistillationLoss(LossConfig()).task(LOGITS_NK, LABELS_N), softmax_ce(LOGITS_NK, LABELS_N))
