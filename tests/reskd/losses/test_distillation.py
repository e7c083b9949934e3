"""The student's loss: values of both terms, gradients from both terms, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from reskd.choices import TaskName
from reskd.losses.config import LogitMapLossConfig, LossConfig, PixelLossConfig
from reskd.losses.distillation import DistillationLoss, FeaturePair
from reskd.losses.embedding import embedding_loss
from reskd.losses.logit_map import logit_map_loss
from reskd.losses.pixel import check_widths, pixel_loss
from reskd.losses.prediction import prediction_loss
from reskd.losses.scores import score_loss
from reskd.losses.task import TASK_LOSSES, random_label_ce, sigmoid_bce, softmax_ce
from reskd.outputs import RecognizerOutput

LABELS_N = torch.tensor([1, 0])


def _output(
    grid: tuple[int, int], *, dim: int = 6, num_frames: int = 3, dtype: torch.dtype = torch.float32
) -> RecognizerOutput:
    generator = torch.Generator().manual_seed(grid[0])
    logits_NK = torch.randn((2, 4), generator=generator).to(dtype)
    features_NTDHW = torch.randn((2, num_frames, dim, *grid), generator=generator).to(dtype)
    logit_map_NTKHW = torch.randn((2, num_frames, 4, *grid), generator=generator).to(dtype)
    return RecognizerOutput(
        logits_NK, features_NTDHW, logit_map_NTKHW=logit_map_NTKHW, frame_logits_NTK=logit_map_NTKHW.mean((3, 4))
    )


def _with_graph(output: RecognizerOutput) -> RecognizerOutput:
    return RecognizerOutput(*(None if value is None else value.requires_grad_() for value in output))


def _pair(student_dim: int = 6, teacher_dim: int = 6, *, k: int = 3, num_frames: int = 3) -> FeaturePair:
    """Of networks with a feature frame for every frame; the student sees the first k."""
    timestamps = tuple(map(float, range(num_frames)))
    return FeaturePair(student_dim, teacher_dim, timestamps[:k], timestamps)


PIXEL_LINEAR = PixelLossConfig(alpha=7, projection="linear")


def _gradients(total: Tensor, output: RecognizerOutput) -> tuple[Tensor, Tensor]:
    logits_NK, features_NTDHW = torch.autograd.grad(total, (output.logits_NK, output.features_NTDHW))
    return logits_NK, features_NTDHW


def test_softmax_ce_of_equal_scores_is_log_k() -> None:
    assert softmax_ce(torch.zeros(2, 4), LABELS_N).item() == pytest.approx(math.log(4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_softmax_ce_is_fp32(dtype: torch.dtype) -> None:
    logits_NK = _output((2, 2), dtype=dtype).logits_NK
    loss = softmax_ce(logits_NK, LABELS_N)
    assert loss.dtype == torch.float32
    assert loss == softmax_ce(logits_NK.float(), LABELS_N)


SETS_NK = torch.tensor([[False, True, False, True], [True, False, False, False]])


def test_sigmoid_bce_sums_over_classes_and_has_the_gradient_of_the_formula() -> None:
    logits_NK = _output((2, 2)).logits_NK.requires_grad_()
    loss = sigmoid_bce(logits_NK, SETS_NK)
    p, y = logits_NK.sigmoid(), SETS_NK.float()
    torch.testing.assert_close(loss, -(y * p.log() + (1 - y) * (1 - p).log()).sum() / 2)
    torch.testing.assert_close(torch.autograd.grad(loss, logits_NK)[0], (p - y) / 2)


def test_sigmoid_bce_takes_class_numbers_as_sets_of_one() -> None:
    logits_NK = _output((2, 2)).logits_NK
    assert sigmoid_bce(logits_NK, LABELS_N) == sigmoid_bce(logits_NK, torch.eye(4)[LABELS_N].bool())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("task", ["random_label_ce", "sigmoid_bce"])
@pytest.mark.parametrize("targets", [LABELS_N, SETS_NK], ids=["numbers", "sets"])
def test_losses_of_several_labels_are_fp32(dtype: torch.dtype, task: TaskName, targets: Tensor) -> None:
    logits_NK = _output((2, 2), dtype=dtype).logits_NK
    torch.manual_seed(0)
    loss = TASK_LOSSES[task](logits_NK, targets)
    torch.manual_seed(0)
    assert loss.dtype == torch.float32
    assert loss == TASK_LOSSES[task](logits_NK.float(), targets)


def test_random_label_ce_draws_only_labels_of_the_clip_and_all_of_them_equally_often() -> None:
    logits_NK = torch.tensor([[0.0, 5.0, -3.0, 2.0]])
    torch.manual_seed(0)
    each = {round(softmax_ce(logits_NK, torch.tensor([k])).item(), 4): k for k in range(4)}
    drawn = [each[round(random_label_ce(logits_NK, SETS_NK[:1]).item(), 4)] for _ in range(400)]
    assert set(drawn) == {1, 3}
    assert 150 < drawn.count(1) < 250
    assert random_label_ce(logits_NK, SETS_NK[1:]) == softmax_ce(logits_NK, torch.tensor([0]))


def test_the_config_chooses_the_task_loss() -> None:
    student = _output((2, 2))
    terms = DistillationLoss(LossConfig(task="sigmoid_bce"))(student, SETS_NK, None)
    assert terms.total == terms.unweighted["task"] == sigmoid_bce(student.logits_NK, SETS_NK)
    with pytest.raises(ValidationError, match="softmax_ce"):
        LossConfig.model_validate({"task": "bce"})


def test_pixel_loss_compares_frame_by_frame() -> None:
    student, teacher = _output((2, 3)).features_NTDHW, _output((5, 4)).features_NTDHW
    by_frame = [pixel_loss(student[:, t : t + 1], teacher[:, t : t + 1]) for t in range(3)]
    torch.testing.assert_close(pixel_loss(student, teacher), torch.stack(by_frame).mean())


def test_total_is_task_plus_alpha_times_pixel() -> None:
    student, teacher = _output((2, 2)), _output((4, 4))
    terms = DistillationLoss(LossConfig(pixel=PixelLossConfig(alpha=100)))(student, LABELS_N, teacher)
    assert list(terms.unweighted) == ["task", "pixel"]
    assert terms.unweighted["task"] == softmax_ce(student.logits_NK, LABELS_N)
    assert terms.unweighted["pixel"] == pixel_loss(student.features_NTDHW, teacher.features_NTDHW)
    assert terms.total == terms.unweighted["task"] + 100 * terms.unweighted["pixel"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_all_terms_are_fp32_scalars_and_only_the_total_has_a_graph(dtype: torch.dtype) -> None:
    student = _with_graph(_output((2, 2), dtype=dtype))
    terms = DistillationLoss(LossConfig(pixel=PixelLossConfig(alpha=1)))(
        student, LABELS_N, _output((4, 4), dtype=dtype)
    )
    for term in (terms.total, *terms.unweighted.values()):
        assert term.dtype == torch.float32
        assert term.shape == ()
    assert terms.total.requires_grad
    assert not any(term.requires_grad for term in terms.unweighted.values())


def test_gradients_come_from_both_terms() -> None:
    student, teacher = _with_graph(_output((2, 2))), _output((4, 4))
    total = DistillationLoss(LossConfig(pixel=PixelLossConfig(alpha=7)))(student, LABELS_N, teacher).total
    logits_gradient, features_gradient = _gradients(total, student)
    task_only = torch.autograd.grad(softmax_ce(student.logits_NK, LABELS_N), student.logits_NK)[0]
    pixel_only = torch.autograd.grad(
        pixel_loss(student.features_NTDHW, teacher.features_NTDHW), student.features_NTDHW
    )[0]
    assert task_only.abs().sum() > 0
    assert pixel_only.abs().sum() > 0
    torch.testing.assert_close(logits_gradient, task_only)
    torch.testing.assert_close(features_gradient, 7 * pixel_only)


def test_without_a_pixel_term_no_teacher_is_needed_and_features_get_no_gradient() -> None:
    student = _with_graph(_output((2, 2)))
    terms = DistillationLoss(LossConfig())(student, LABELS_N, None)
    assert list(terms.unweighted) == ["task"]
    assert torch.autograd.grad(terms.total, student.features_NTDHW, allow_unused=True)[0] is None


def test_only_a_projection_has_parameters() -> None:
    both = LossConfig(pixel=PixelLossConfig(alpha=1), logit_map=LogitMapLossConfig(alpha=1))
    assert not list(DistillationLoss(both, _pair()).parameters())
    projecting = DistillationLoss(both.model_copy(update={"pixel": PIXEL_LINEAR}), _pair(6, 9))
    assert list(projecting.state_dict()) == ["projection.linear.weight", "projection.linear.bias"]


def test_both_terms_add_up_and_are_named() -> None:
    student, teacher = _output((2, 2)), _output((4, 4))
    config = LossConfig(pixel=PixelLossConfig(alpha=3), logit_map=LogitMapLossConfig(alpha=50, temperature=4))
    total, unweighted, *_ = DistillationLoss(config, _pair())(student, LABELS_N, teacher)
    assert list(unweighted) == ["task", "pixel", "logit_map"]
    assert student.logit_map_NTKHW is not None and teacher.logit_map_NTKHW is not None
    expected = logit_map_loss(student.logit_map_NTKHW, teacher.logit_map_NTKHW, temperature=4)
    assert unweighted["logit_map"] == expected
    assert total == unweighted["task"] + 3 * unweighted["pixel"] + 50 * expected


def test_all_levels_add_up_and_are_named() -> None:
    student, teacher = _with_graph(_output((2, 2))), _output((4, 4))
    weights = {"pixel": 3.0, "logit_map": 50.0, "frame": 0.5, "clip": 7.0}
    loss = LossConfig.model_validate({name: {"alpha": alpha} for name, alpha in weights.items()})
    total, unweighted, *_ = DistillationLoss(loss, _pair())(student, LABELS_N, teacher)
    assert list(unweighted) == ["task", *weights]
    assert unweighted["clip"] == score_loss(student.logits_NK, teacher.logits_NK, temperature=2)
    assert student.frame_logits_NTK is not None and teacher.frame_logits_NTK is not None
    assert unweighted["frame"] == score_loss(student.frame_logits_NTK, teacher.frame_logits_NTK, temperature=2)
    expected = unweighted["task"] + sum(alpha * unweighted[name] for name, alpha in weights.items())
    torch.testing.assert_close(total.detach(), expected)
    total.backward()
    for value in (student.logits_NK, student.features_NTDHW, student.logit_map_NTKHW, student.frame_logits_NTK):
        assert value is not None and value.grad is not None and value.grad.abs().sum() > 0


def test_the_frame_term_compares_the_frames_that_the_student_sees() -> None:
    student, teacher = _output((2, 2), num_frames=2), _output((4, 4), num_frames=5)
    loss = LossConfig.model_validate({"frame": {"alpha": 1, "temperature": 3}, "time": "nearest"})
    pair = FeaturePair(6, 6, (0.0, 2.0), (0.0, 1.0, 2.0, 3.0, 4.0))
    found = DistillationLoss(loss, pair)(student, LABELS_N, teacher).unweighted["frame"]
    assert student.frame_logits_NTK is not None and teacher.frame_logits_NTK is not None
    assert found == score_loss(student.frame_logits_NTK, teacher.frame_logits_NTK[:, [0, 2]], temperature=3)


def test_a_recognizer_without_scores_of_frames_is_named() -> None:
    loss = DistillationLoss(LossConfig.model_validate({"frame": {"alpha": 1}}))
    with pytest.raises(ValueError, match="expected recognizers with gives_frame_logits = True"):
        loss(_output((2, 2)), LABELS_N, _output((2, 2))._replace(frame_logits_NTK=None))


@pytest.mark.parametrize(("term", "other"), [("logit_map", "pixel"), ("frame", "pixel"), ("clip", "prediction with")])
def test_softmax_terms_are_refused_with_classes_trained_one_by_one(term: str, other: str) -> None:
    message = rf"{term} compares softmax scores, and task = sigmoid_bce .* or use {other}.* in place of {term}"
    with pytest.raises(ValidationError, match=message):
        LossConfig.model_validate({"task": "sigmoid_bce", term: {"alpha": 1}})


def test_the_pixel_term_sees_the_projected_student() -> None:
    student, teacher = _with_graph(_output((2, 2), dim=5)), _output((4, 4))
    loss = DistillationLoss(LossConfig(pixel=PIXEL_LINEAR), _pair(5, 6))
    assert loss.projection is not None
    torch.nn.init.normal_(loss.projection.linear.weight)  # it starts at 0, and passes no gradient on
    total, unweighted, *_ = loss(student, LABELS_N, teacher)
    weight, bias = loss.projection.linear.weight, loss.projection.linear.bias
    projected = torch.einsum("Dd,ntdhw->ntDhw", weight, student.features_NTDHW) + bias[:, None, None]
    torch.testing.assert_close(unweighted["pixel"], pixel_loss(projected, teacher.features_NTDHW).detach())
    total.backward()
    for value in (student.features_NTDHW, weight, bias):
        assert value.grad is not None and value.grad.abs().sum() > 0


def test_both_terms_compare_the_frames_that_the_student_sees() -> None:
    student, teacher = _output((2, 2), num_frames=2), _output((4, 4), num_frames=5)
    assert student.logit_map_NTKHW is not None and teacher.logit_map_NTKHW is not None
    config = LossConfig(pixel=PixelLossConfig(alpha=1), logit_map=LogitMapLossConfig(alpha=1), time="nearest")
    pair = FeaturePair(6, 6, (0.0, 2.0), (0.0, 1.0, 2.0, 3.0, 4.0))
    unweighted = DistillationLoss(config, pair)(student, LABELS_N, teacher).unweighted
    assert unweighted["pixel"] == pixel_loss(student.features_NTDHW, teacher.features_NTDHW[:, [0, 2]])
    expected = logit_map_loss(student.logit_map_NTKHW, teacher.logit_map_NTKHW[:, [0, 2]], temperature=2)
    assert unweighted["logit_map"] == expected


@pytest.mark.parametrize("config", [{name: {"alpha": 1}} for name in ("pixel", "logit_map", "frame", "clip")])
def test_a_term_without_a_teacher_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"loss\.{next(iter(config))} .*expected a teacher, found none"):
        DistillationLoss(LossConfig.model_validate(config))(_output((2, 2)), LABELS_N, None)


def test_a_recognizer_without_a_logit_map_is_named() -> None:
    loss = DistillationLoss(LossConfig(logit_map=LogitMapLossConfig(alpha=1)))
    with pytest.raises(ValueError, match="expected recognizers with gives_logit_map = True"):
        loss(_output((2, 2))._replace(logit_map_NTKHW=None), LABELS_N, _output((2, 2)))


def test_unequal_widths_are_named_with_what_to_do() -> None:
    message = (
        r"1280 channels \(student\) and 2048 \(teacher\); set loss.pixel.projection to linear .*or use loss.logit_map"
    )
    with pytest.raises(ValueError, match=message):
        check_widths(student_dim=1280, teacher_dim=2048)
    with pytest.raises(ValueError, match=message):
        DistillationLoss(LossConfig(pixel=PixelLossConfig(alpha=1)), _pair(1280, 2048))


def test_the_logit_map_takes_any_widths() -> None:
    DistillationLoss(LossConfig(logit_map=LogitMapLossConfig(alpha=1)), _pair(768, 1024))


def test_unequal_moments_are_refused_unless_a_matching_is_chosen() -> None:
    pair = _pair(k=2, num_frames=3)
    with pytest.raises(ValueError, match=r"2 feature frames of the student \(0, 1\) and 3 .*set loss.time to nearest"):
        DistillationLoss(LossConfig(pixel=PixelLossConfig(alpha=1)), pair)
    assert DistillationLoss(LossConfig(pixel=PixelLossConfig(alpha=1), time="nearest"), pair).timestamps is not None


@pytest.mark.parametrize(
    "config", [{"pixel": {"alpha": 1, "projection": "linear"}}, {"pixel": {"alpha": 1}, "time": "nearest"}]
)
def test_what_depends_on_both_networks_needs_to_know_them(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected a FeaturePair, found none"):
        DistillationLoss(LossConfig.model_validate(config))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"time": "nearest"}, "time = nearest applies to feature maps only; add pixel, logit_map or frame"),
        ({"task": "sigmoid_bce", "logit_map": {"alpha": 1}}, "task = sigmoid_bce trains every class on its own"),
        ({"logit_map": {}}, "alpha"),
        ({"logit_map": {"alpha": -1}}, "expected a number from 0 to 1e.12, or auto, which makes .* found '-1'"),
        ({"pixel": {"alpha": True}}, "expected a number from 0 to 1e.12, or auto, .* found 'True'"),
        ({"clip": {"alpha": "Auto"}}, "expected a number .* found 'Auto'"),
        ({"frame": {"alpha": float("nan")}}, "expected a number .* found 'nan'"),
        ({"embedding": {"alpha": "auto"}}, "alpha\n.*valid number"),
        ({"pixel": {"alpha": "auto"}, "task_weight": 0}, "pixel.alpha = auto makes .* and task_weight = 0 leaves none"),
        ({"pixel": {"alpha": 1}, "auto_steps": 5}, "auto_steps = 5 applies to terms with alpha = auto only"),
        ({"pixel": {"alpha": "auto"}, "auto_steps": 0}, "auto_steps"),
        ({"logit_map": {"alpha": 1, "temperature": 0}}, "temperature"),
        ({"pixel": {"alpha": 1, "projection": "conv"}}, "projection"),
        ({"pixel": {"alpha": 1}, "time": "accident"}, "time"),
    ],
)
def test_wrong_settings_are_named(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LossConfig.model_validate(config)


@pytest.mark.parametrize(("dim", "num_frames", "found"), [(5, 3, "5 channels"), (6, 2, r"2 \(student\)")])
def test_features_that_cannot_be_compared_are_refused(dim: int, num_frames: int, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        pixel_loss(_output((2, 2), dim=dim, num_frames=num_frames).features_NTDHW, _output((4, 4)).features_NTDHW)


@pytest.mark.parametrize("alpha", [-1.0, float("inf"), float("nan")])
def test_alpha_is_a_finite_weight(alpha: float) -> None:
    with pytest.raises(ValidationError, match="alpha"):
        PixelLossConfig(alpha=alpha)


def test_alpha_has_no_default() -> None:
    with pytest.raises(ValidationError, match="alpha"):
        LossConfig.model_validate({"pixel": {}})


CODE, PREDICTION = {"alpha": 0.001}, {"alpha": 0.01, "distance": "kl"}


def _coded(seed: int, embedding_dim: int = 5) -> RecognizerOutput:
    """Of a network that sees features: scores and a code, and no map."""
    generator = torch.Generator().manual_seed(seed)
    logits_NK, embedding_NE = (
        torch.randn((2, 4), generator=generator),
        torch.randn((2, embedding_dim), generator=generator),
    )
    return RecognizerOutput(logits_NK.requires_grad_(), None, embedding_NE=embedding_NE.requires_grad_())


def test_task_code_and_prediction_add_up_with_their_weights_and_teach_the_student_only() -> None:
    student, teacher = _coded(0), _coded(1)
    config = LossConfig.model_validate(
        {"task": "sigmoid_bce", "task_weight": 0.5, "embedding": CODE, "prediction": PREDICTION}
    )
    total, unweighted, *_ = DistillationLoss(config)(student, LABELS_N, teacher)
    assert list(unweighted) == list(config.weights) == ["task", "embedding", "prediction"]
    assert student.embedding_NE is not None and teacher.embedding_NE is not None
    assert unweighted["embedding"] == embedding_loss(student.embedding_NE, teacher.embedding_NE, reduction="sum")
    expected = prediction_loss(student.logits_NK, teacher.logits_NK, distance="kl", scores="sigmoid")
    assert unweighted["prediction"] == expected
    torch.testing.assert_close(
        total.detach(), 0.5 * unweighted["task"] + 0.001 * unweighted["embedding"] + 0.01 * expected.detach()
    )
    total.backward()
    for value in (student.logits_NK, student.embedding_NE):
        assert value.grad is not None and value.grad.abs().sum() > 0
    assert teacher.logits_NK.grad is None and teacher.embedding_NE.grad is None


def test_no_term_reaches_a_teacher_that_has_a_graph() -> None:
    config = LossConfig.model_validate(
        {name: {"alpha": 1} for name in ("pixel", "logit_map", "frame", "clip", "prediction")}
    )
    student, teacher = _with_graph(_output((2, 2))), _with_graph(_output((4, 4)))
    DistillationLoss(config)(student, LABELS_N, teacher).total.backward()
    for mine, theirs in zip(student, teacher, strict=True):
        assert mine is None or (mine.grad is not None and theirs is not None and theirs.grad is None)


def test_a_task_weight_of_0_leaves_the_labels_out() -> None:
    student, teacher = _coded(0), _coded(1)
    config = LossConfig.model_validate({"task_weight": 0, "embedding": {"alpha": 1}})
    total, unweighted, *_ = DistillationLoss(config)(student, LABELS_N, teacher)
    total.backward()
    assert unweighted["task"] == softmax_ce(student.logits_NK, LABELS_N)  # still logged
    assert total == unweighted["embedding"]
    assert student.logits_NK.grad is not None and not student.logits_NK.grad.any()


@pytest.mark.parametrize(
    ("config", "pair", "message"),
    [
        ({"embedding": CODE}, {}, r"found 4096 \(student\) and 1024 \(teacher\); use loss.prediction"),
        (
            {"embedding": CODE},
            {"student_embedding_dim": None},
            "expected a student with an embedding, found one without",
        ),
        ({"pixel": {"alpha": 1}}, {}, "loss.pixel compares feature maps: expected networks that see pixels"),
        ({"logit_map": {"alpha": 1}}, {"student_dim": 8}, "loss.logit_map compares feature maps"),
    ],
)
def test_families_that_a_term_cannot_compare_are_refused_by_name(
    config: dict[str, Any], pair: dict[str, Any], message: str
) -> None:
    features = {"student_dim": None, "teacher_dim": None, "student_timestamps": (), "teacher_timestamps": ()}
    both = FeaturePair(**{**features, "student_embedding_dim": 4096, "teacher_embedding_dim": 1024, **pair})
    with pytest.raises(ValueError, match=message):
        DistillationLoss(LossConfig.model_validate(config), both)
    DistillationLoss(LossConfig.model_validate({"prediction": PREDICTION}), both)  # always makes sense


def test_a_network_without_a_code_is_named_in_the_step_too() -> None:
    with pytest.raises(ValueError, match="expected a teacher with an embedding, found one without"):
        DistillationLoss(LossConfig.model_validate({"embedding": CODE}))(_coded(0), LABELS_N, _output((2, 2)))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"task_weight": 0}, "task_weight = 0 leaves nothing to learn"),
        ({"task_weight": -1, "embedding": CODE}, "task_weight"),
        ({"embedding": {"alpha": 1, "reduction": "max"}}, "reduction"),
        ({"prediction": {"alpha": 1, "distance": "bernoulli_kl"}}, "expected sigmoid_bce, or use kl"),
        ({"embedding": CODE, "time": "nearest"}, "time = nearest applies to feature maps only"),
    ],
)
def test_wrong_settings_of_clip_terms_are_named(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LossConfig.model_validate(config)
