"""Automatic weights, against gradients written by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from reskd.losses.auto_weights import AutoWeights
from reskd.losses.config import LossConfig
from reskd.losses.diagnostics import gradient_squares
from reskd.losses.distillation import DistillationLoss, FeaturePair
from reskd.outputs import RecognizerOutput

LABELS_N = torch.tensor([1])


def outputs(student: list[float], teacher: list[float]) -> tuple[RecognizerOutput, RecognizerOutput]:
    """One clip of one location; the logits are twice the map."""
    mine, theirs = (torch.tensor(values).view(1, 1, -1, 1, 1) for values in (student, teacher))
    mine.requires_grad_()
    return RecognizerOutput(2 * mine.flatten(1), mine), RecognizerOutput(theirs.flatten(1), theirs)


def weights_after(loss: DistillationLoss, *pairs: tuple[RecognizerOutput, RecognizerOutput]) -> dict[str, float]:
    assert loss.auto is not None
    for student, teacher in pairs:
        terms = loss(student, LABELS_N, teacher)
        loss.auto.add(gradient_squares(terms.balanced, student, torch.ones(()), terms.places))
    loss.end_step()
    return loss.weights()


def test_the_weight_makes_the_terms_gradient_as_large_as_the_tasks() -> None:
    """Map (0, 0), logits (0, 0), label 1: the task's gradient is 2 * (0.5, -0.5), that of the mean square (-3, -4)."""
    loss = DistillationLoss(LossConfig.model_validate({"task_weight": 3, "pixel": {"alpha": "auto"}}))
    pair = outputs([0.0, 0.0], [3.0, 4.0])
    first = loss(pair[0], LABELS_N, pair[1])
    assert first.total == first.weighted["task"] and first.weighted["pixel"] == 0
    assert loss.weights() == {"task": 3, "pixel": 0}
    assert weights_after(loss, pair) == pytest.approx({"task": 3, "pixel": 3 * math.sqrt(2) / 5})
    second = loss(pair[0], LABELS_N, pair[1])
    assert second.weighted["pixel"].item() == pytest.approx(12.5 * 3 * math.sqrt(2) / 5)
    assert second.total.item() == pytest.approx(3 * math.log(2) + 12.5 * 3 * math.sqrt(2) / 5)


def test_sums_of_squares_are_compared_whatever_the_weight_of_before() -> None:
    """Passes with pixel gradients (-3, -4), then (-6, -8): the root of the sum of squares is 5 * sqrt(5)."""
    loss = DistillationLoss(LossConfig.model_validate({"pixel": {"alpha": "auto"}}))
    weights_after(loss, outputs([0.0, 0.0], [3.0, 4.0]))
    found = weights_after(loss, outputs([0.0, 0.0], [6.0, 8.0]))
    assert found["pixel"] == pytest.approx(math.sqrt(2 + 2) / (5 * math.sqrt(5)))


def test_a_projection_that_is_still_0_has_a_weight_as_its_projected_map_is_measured() -> None:
    """The projected map is (0, 0, 0): the term's gradient there is 2/3 * (-1, -2, -2), its norm 2."""
    pixel = {"alpha": "auto", "projection": "linear"}
    pair = FeaturePair(2, 3, (0.0,), (0.0,))
    loss = DistillationLoss(LossConfig.model_validate({"pixel": pixel}), pair)
    assert weights_after(loss, outputs([5.0, 5.0], [1.0, 2.0, 2.0])) == pytest.approx(
        {"task": 1, "pixel": math.sqrt(2) / 2}
    )


def test_automatic_and_given_weights_stand_side_by_side() -> None:
    settings = {"pixel": {"alpha": 7}, "clip": {"alpha": "auto", "temperature": 1}, "embedding": {"alpha": 2}}
    config = LossConfig.model_validate(settings)
    assert config.auto_terms == ("clip",)
    loss = DistillationLoss(config)
    student, teacher = outputs([0.0, 0.0], [0.0, math.log(3)])
    embedded = [one._replace(embedding_NE=one.features_NTDHW.flatten(1)) for one in (student, teacher)]
    # Scores (1/2, 1/2) and (1/4, 3/4): the gradient of the divergence is 2 * (1/4, -1/4), half of the task's.
    assert weights_after(loss, (embedded[0], embedded[1])) == pytest.approx(
        {"task": 1, "pixel": 7, "embedding": 2, "clip": 2}
    )


def measured(*squares: list[float]) -> Tensor:
    weights = AutoWeights(["pixel"], 20)
    for one in squares:
        weights.add(torch.tensor(one))
    weights.update()
    return weights.weights_M


@pytest.mark.parametrize("bad", [[math.inf, 1.0], [1.0, math.nan], [math.nan, math.inf]])
def test_a_pass_that_overflows_is_left_out(bad: list[float]) -> None:
    assert measured(bad, [4.0, 16.0], bad).tolist() == [0.5]
    assert measured(bad).tolist() == [0.0]


def test_a_term_without_a_gradient_has_no_weight() -> None:
    assert measured([4.0, 0.0]).tolist() == [0.0]


def test_small_gradients_do_not_vanish_in_the_ratio() -> None:
    assert measured([1e-30, 1e-36]).item() == pytest.approx(1e3)


def test_weights_are_measured_in_the_first_steps_and_are_a_modules_state() -> None:
    weights = AutoWeights(["pixel", "clip"], 2)
    assert [weights.measures(step) for step in (1, 2, 3)] == [True, True, False]
    weights.add(torch.tensor([4.0, 1.0, 16.0]))
    weights.update()
    other = AutoWeights(["pixel", "clip"], 2)
    other.load_state_dict(weights.state_dict())
    assert {name: weight.item() for name, weight in other.by_name().items()} == {"pixel": 2.0, "clip": 0.5}
    assert torch.equal(other.squares, weights.squares)
