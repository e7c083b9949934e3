"""The intermediate term against values worked by hand: which states it compares, its gradient, what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reskd.losses.config import LossConfig
from reskd.losses.distillation import DistillationLoss, FeaturePair
from reskd.losses.embedding import embedding_loss
from reskd.losses.intermediate import check_blocks, intermediate_loss
from reskd.outputs import RecognizerOutput


def _states(*values: float) -> Tensor:
    """(1, G, 2): both elements of the state after each block are the value."""
    return torch.tensor(values, dtype=torch.float32)[None, :, None].expand(-1, -1, 2).clone()


def _valid(num_missing: int, num_valid: int) -> Tensor:
    return torch.tensor([[False] * num_missing + [True] * num_valid])


# Each case: the student's states and how many blocks are missing, the teacher's, and the sum of 2 (s - t)^2.
@pytest.mark.parametrize(
    ("student", "missing", "teacher", "teacher_missing", "expected"),
    [
        # Blocks 1 and 2 of 3 with blocks 2 and 4 of 6: 2 (1 - 20)^2 + 2 (2 - 40)^2. The last is left out.
        ((1, 2, 3), 0, (10, 20, 30, 40, 50, 60), 0, 2 * 19**2 + 2 * 38**2),
        # As many blocks: one by one.
        ((1, 2, 3), 0, (10, 20, 30), 0, 2 * 9**2 + 2 * 18**2),
        # 2 valid of 3, and 3 valid of 6: block 1 of 2 with block ceil(3 / 2) = 2 of 3.
        ((0, 2, 3), 1, (0, 0, 0, 40, 50, 60), 3, 2 * 48**2),
        # More blocks than the teacher: 1, 2 and 3 of 4 with ceil(2 g / 4) = 1, 1 and 2 of 2.
        ((1, 2, 3, 4), 0, (10, 20), 0, 2 * 9**2 + 2 * 8**2 + 2 * 17**2),
        # One block alone, or none, is nothing to compare.
        ((0, 0, 3), 2, (10, 20, 30), 0, 0),
        ((0, 0, 0), 3, (0, 0, 0), 3, 0),
    ],
)
def test_states_after_the_same_parts_of_a_video_are_compared(
    student: tuple[float, ...], missing: int, teacher: tuple[float, ...], teacher_missing: int, expected: float
) -> None:
    found = intermediate_loss(
        _states(*student),
        _states(*teacher),
        student_valid_NG=_valid(missing, len(student) - missing),
        teacher_valid_NG=_valid(teacher_missing, len(teacher) - teacher_missing),
    )
    assert found.item() == expected


def test_each_video_has_its_own_blocks_and_the_term_is_their_mean() -> None:
    student = torch.cat((_states(1, 2, 3), _states(0, 2, 3)))
    teacher = torch.cat((_states(10, 20, 30, 40, 50, 60), _states(0, 0, 0, 40, 50, 60)))
    found = intermediate_loss(
        student,
        teacher,
        student_valid_NG=torch.cat((_valid(0, 3), _valid(1, 2))),
        teacher_valid_NG=torch.cat((_valid(0, 6), _valid(3, 3))),
    )
    assert found.item() == (2 * 19**2 + 2 * 38**2 + 2 * 48**2) / 2


def test_with_the_embedding_term_it_is_the_sum_over_all_blocks() -> None:
    student, teacher = _states(1, 2, 3), _states(10, 20, 30)
    everywhere = _valid(0, 3)
    inside = intermediate_loss(student, teacher, student_valid_NG=everywhere, teacher_valid_NG=everywhere)
    last = embedding_loss(student[:, -1], teacher[:, -1], reduction="sum")
    assert (inside + last).item() == (student - teacher).square().sum().item()


def test_the_gradient_goes_to_the_students_states_before_the_last_only() -> None:
    student, teacher = _states(0, 2, 3).requires_grad_(), _states(10, 20, 30).requires_grad_()
    valid = {"student_valid_NG": _valid(1, 2), "teacher_valid_NG": _valid(0, 3)}
    intermediate_loss(student, teacher, **valid).backward()  # block 1 of 2 with block 2 of 3: 2 (2 - 20)
    assert student.grad is not None and teacher.grad is None
    assert student.grad.tolist() == [[[0.0, 0.0], [-36.0, -36.0], [0.0, 0.0]]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_squares_beyond_half_precision_are_fp32_under_autocast_too(dtype: torch.dtype) -> None:
    valid = {"student_valid_NG": _valid(0, 2), "teacher_valid_NG": _valid(0, 2)}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = intermediate_loss(_states(300, 0).to(dtype), _states(0, 0).to(dtype), **valid)
    assert loss.dtype == torch.float32 and loss.item() == 2 * 90_000


@pytest.mark.parametrize(
    ("blocks", "dims", "message"),
    [
        ((0, 20), (4, 4), "loss.intermediate .* expected a student with aggregator.kind = h_rnn, found one without"),
        ((5, 0), (4, 4), "loss.intermediate .* expected a teacher with aggregator.kind = h_rnn, found one without"),
        ((1, 20), (4, 4), "expected a student with two blocks or more, found one block; set a smaller student.aggreg"),
        ((5, 20), (4, 8), r"found 4 \(student\) and 8 \(teacher\); give both aggregators one hidden_dim"),
    ],
)
def test_networks_without_states_to_compare_are_refused_by_the_key(
    blocks: tuple[int, int], dims: tuple[int, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_blocks(student_blocks=blocks[0], teacher_blocks=blocks[1], student_dim=dims[0], teacher_dim=dims[1])
    config = LossConfig(task="sigmoid_bce", intermediate={"alpha": 1})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        DistillationLoss(config, FeaturePair(None, None, (), (), *dims, *blocks))


def test_the_students_loss_adds_it_with_its_weight() -> None:
    config = LossConfig(task="sigmoid_bce", task_weight=0, intermediate={"alpha": 3})  # type: ignore[arg-type]
    logits, everywhere = torch.zeros(1, 2), _valid(0, 3)
    outputs = [
        RecognizerOutput(logits, None, states[:, -1], block_states_NGE=states, block_valid_NG=everywhere)
        for states in (_states(1, 2, 3), _states(10, 20, 30))
    ]
    targets = torch.tensor([[True, False]])
    terms = DistillationLoss(config)(outputs[0], targets, outputs[1])
    assert terms.unweighted["intermediate"].item() == 2 * 9**2 + 2 * 18**2
    assert terms.total.item() == 3 * (2 * 9**2 + 2 * 18**2)
    with pytest.raises(ValueError, match="expected recognizers with gives_block_states = True"):
        DistillationLoss(config)(outputs[0], targets, RecognizerOutput(logits, None))
