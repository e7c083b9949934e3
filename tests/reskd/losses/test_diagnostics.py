"""Sizes of gradients and maps, against gradients computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reskd.losses.config import LossConfig
from reskd.losses.diagnostics import describe, measure_gradients, measure_maps
from reskd.losses.distillation import DistillationLoss, FeaturePair
from reskd.outputs import RecognizerOutput

ONE = torch.ones(())
LABELS_N = torch.tensor([1, 0])
MOMENTS = (0.0, 1.0)


def _means(measured: dict[str, Tensor]) -> dict[str, float]:
    return {name: value.item() for name, value in measured.items()}


def test_norms_and_cosines_are_those_of_gradients_written_by_hand() -> None:
    map_NTDHW = torch.tensor([3.0, 4.0]).view(1, 1, 2, 1, 1).requires_grad_()
    student = RecognizerOutput(map_NTDHW.flatten(1), map_NTDHW)
    first, second = map_NTDHW.flatten()
    terms = {"task": 2 * first, "pixel": first + second, "clip": 0 * second, "frame": -5 * first}
    terms["embedding"] = torch.tensor(7.0)  # no gradient
    found = describe(_means(measure_gradients(terms, student, ONE)), num_shares=1)
    expected = {"task": 2, "pixel": math.sqrt(2), "clip": 0, "frame": 5, "embedding": 0}
    cosines = {"pixel": math.sqrt(0.5), "clip": 0, "frame": -1, "embedding": 0}
    named = {f"grad_norm/{name}": value for name, value in expected.items()}
    assert found == pytest.approx(named | {f"grad_cosine/{name}": value for name, value in cosines.items()})
    assert map_NTDHW.grad is None
    sum(terms.values()).backward()  # the graph is still there
    assert map_NTDHW.grad.flatten().tolist() == [-2.0, 1.0]


@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_gradients_of_the_products_terms_are_autograds_at_the_feature_map(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    map_NTDhw = torch.randn((2, 2, 3, 2, 2), generator=generator).requires_grad_()
    teacher_NTDHW = torch.randn((2, 2, 3, 4, 4), generator=generator)
    student = RecognizerOutput(map_NTDhw.mean((1, 3, 4)), map_NTDhw)
    loss = DistillationLoss(LossConfig.model_validate({"task_weight": 0.5, "pixel": {"alpha": 3, "backend": "auto"}}))
    terms = loss(student, LABELS_N, RecognizerOutput(torch.zeros(2, 3), teacher_NTDHW)).weighted
    found = describe(_means(measure_gradients(terms, student, torch.tensor(scale))), num_shares=1)
    enlarged = F.interpolate(map_NTDhw.flatten(0, 1), size=(4, 4), mode="bilinear", align_corners=False)
    by_hand = 3 * F.mse_loss(enlarged, teacher_NTDHW.flatten(0, 1))
    (task,) = torch.autograd.grad(0.5 * F.cross_entropy(map_NTDhw.mean((1, 3, 4)), LABELS_N), map_NTDhw)
    (pixel,) = torch.autograd.grad(by_hand, map_NTDhw)
    cosine = F.cosine_similarity(task.flatten(), pixel.flatten(), dim=0)
    expected = {"grad_norm/task": task.norm(), "grad_norm/pixel": pixel.norm(), "grad_cosine/pixel": cosine}
    assert found == pytest.approx(_means(expected), rel=1e-5)


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    """Two passes, or two ranks: the mean of their losses has the gradients of the loss of all clips."""
    whole_NTD = torch.randn((4, 1, 3), generator=torch.Generator().manual_seed(1))

    def measured(part_NTD: Tensor) -> dict[str, float]:
        map_NTDHW = part_NTD[..., None, None].clone().requires_grad_()
        mean = map_NTDHW.square().flatten(1).sum(1).mean()
        student = RecognizerOutput(map_NTDHW.flatten(1), map_NTDHW)
        return _means(measure_gradients({"task": mean, "pixel": map_NTDHW.sum(2).sin().mean()}, student, ONE))

    parts = [measured(part) for part in whole_NTD.split(2)]
    means = {name: (parts[0][name] + parts[1][name]) / 2 for name in parts[0]}
    assert describe(means, num_shares=2) == pytest.approx(describe(measured(whole_NTD), num_shares=1), rel=1e-5)


@pytest.mark.parametrize("shared", ["embedding", "logits"])
def test_without_a_feature_map_the_next_output_is_taken(shared: str) -> None:
    logits_NK = torch.ones((1, 2), requires_grad=True)
    embedding_NE = logits_NK * 2 if shared == "embedding" else None
    logits_NK = logits_NK if embedding_NE is None else embedding_NE * 3
    student = RecognizerOutput(logits_NK, None, embedding_NE=embedding_NE)
    found = describe(_means(measure_gradients({"task": logits_NK.sum()}, student, ONE)), num_shares=1)
    assert found == pytest.approx({"grad_norm/task": math.sqrt(2) * (3 if shared == "embedding" else 1)})


def test_values_that_are_not_finite_are_left_out_and_others_stay() -> None:
    means = {"loss/task": math.nan, "diagnosed/square/task": math.inf, "diagnosed/square/pixel": 4.0}
    means |= {"diagnosed/dot/pixel": math.nan, "diagnosed/square/clip": math.nan, "diagnosed/dot/clip": 1.0}
    found = describe(means, num_shares=1)
    assert set(found) == {"loss/task", "grad_norm/pixel"} and found["grad_norm/pixel"] == 2


def _map(*channels: float, grid: int = 1, num_frames: int = 2) -> RecognizerOutput:
    map_NTDHW = torch.tensor(channels).view(1, 1, -1, 1, 1).expand(1, num_frames, -1, grid, grid)
    return RecognizerOutput(torch.zeros(1, 2), map_NTDHW)


def test_maps_are_compared_by_cosine_and_mean_square() -> None:
    loss = DistillationLoss(LossConfig())
    found = _means(measure_maps(loss, _map(3.0, 4.0), _map(0.0, 2.0, grid=3)))
    expected = {"student_mean_square": 12.5, "teacher_mean_square": 2.0, "cosine": 0.8}
    assert found == pytest.approx({f"feature_map/{name}": value for name, value in expected.items()})


def test_a_map_collapsed_to_zero_shows() -> None:
    found = _means(measure_maps(DistillationLoss(LossConfig()), _map(0.0, 0.0), _map(1.0, 1.0)))
    assert (found["feature_map/student_mean_square"], found["feature_map/cosine"]) == (0.0, 0.0)
    assert found["feature_map/teacher_mean_square"] == 1.0


def test_the_students_map_is_projected_before_it_is_compared() -> None:
    config = LossConfig.model_validate({"pixel": {"alpha": 1, "projection": "linear"}})
    loss = DistillationLoss(config, FeaturePair(2, 3, MOMENTS, MOMENTS))
    assert loss.projection is not None
    with torch.no_grad():
        loss.projection.linear.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]))
    found = _means(measure_maps(loss, _map(5.0, 1.0), _map(1.0, 1.0, 0.0)))
    assert found["feature_map/cosine"] == pytest.approx(math.sqrt(0.5))
    assert found["feature_map/student_mean_square"] == 13.0  # of the student's own map


def test_maps_that_cannot_be_compared_have_no_cosine() -> None:
    loss = DistillationLoss(LossConfig())
    assert "feature_map/cosine" not in measure_maps(loss, _map(1.0, 1.0), _map(1.0, 1.0, 1.0))
    assert "feature_map/cosine" not in measure_maps(loss, _map(1.0), _map(1.0, num_frames=3))
    assert set(measure_maps(loss, _map(1.0), None)) == {"feature_map/student_mean_square"}
    assert measure_maps(loss, RecognizerOutput(torch.zeros(1, 2), None), None) == {}
