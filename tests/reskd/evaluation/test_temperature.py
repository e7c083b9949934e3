from __future__ import annotations

import pytest
import torch
from torch.nn.functional import one_hot

from reskd.choices import ScoreKind
from reskd.evaluation.temperature import fit_temperature
from reskd.outputs import probabilities

NUM_VIDEOS, NUM_CLASSES = 20_000, 4


@pytest.mark.parametrize("certainty", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_logits_that_are_too_certain_by_a_factor_get_it_back(scores: ScoreKind, certainty: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits_NK = torch.randn(NUM_VIDEOS, NUM_CLASSES, generator=generator)
    true_NK = probabilities(logits_NK, scores)
    if scores == "softmax":
        right_NK = one_hot(torch.multinomial(true_NK, 1, generator=generator)[:, 0], NUM_CLASSES).bool()
    else:
        right_NK = torch.bernoulli(true_NK, generator=generator).bool()
    found = fit_temperature(certainty * logits_NK, right_NK, scores)
    assert found is not None
    assert found.value == pytest.approx(certainty, rel=0.05)
    assert found.log_loss <= found.log_loss_before
    calibrated_NK = probabilities(certainty * logits_NK, scores, found.value)
    torch.testing.assert_close(calibrated_NK, true_NK, rtol=0, atol=0.02)


def test_a_video_of_several_labels_counts_once_under_softmax() -> None:
    logits_NK = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]])
    right_NK = torch.tensor([[True, True, False], [False, False, True]])
    found = fit_temperature(logits_NK, right_NK, "softmax")
    assert found is not None
    losses_NK = -logits_NK.log_softmax(1)
    assert found.log_loss_before == pytest.approx(((losses_NK[0, :2].mean() + losses_NK[1, 2]) / 2).item())


def test_where_every_answer_is_right_no_temperature_is_the_best() -> None:
    assert fit_temperature(5 * torch.eye(3), torch.eye(3, dtype=torch.bool), "softmax") is None
    assert fit_temperature(5 * torch.eye(3), torch.eye(3, dtype=torch.bool).roll(1, 0), "softmax") is None


def test_a_video_without_a_label_has_no_say_under_softmax() -> None:
    logits_NK = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]])
    right_NK = torch.tensor([[True, True, False], [False, False, True]])
    found = fit_temperature(logits_NK, right_NK, "softmax")
    with_none = fit_temperature(
        torch.cat([logits_NK, torch.ones(1, 3)]), torch.cat([right_NK, torch.zeros(1, 3, dtype=torch.bool)]), "softmax"
    )
    assert found is not None and with_none is not None
    assert with_none.value == pytest.approx(found.value, rel=1e-4)
