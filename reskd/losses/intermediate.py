"""The intermediate term: H-RNN's states inside a video, the student's compared with the teacher's at the same moments.

"Efficient Video Classification Using Fewer Frames" also matches intermediate representations. Neither its abstract nor
the released code says which ones, so what follows is our choice.

Note [Which states are compared]
E is the state of the upper LSTM after the last block, so an intermediate representation is its state after an earlier
block: of the same size, and of the same meaning, what was seen so far. Teacher and student have other numbers of
blocks, and a video fills only some of them. Where it fills n_S of the student's and n_T of the teacher's, the student's
state after its block g is compared with the teacher's after block ceil(g * n_T / n_S), counted from 1. Of 300 frames,
20 blocks of 15 and 5 of 6: after 1, 2, 3 and 4 of the student's with 4, 8, 12 and 16 of the teacher's. The last is
left out, since loss.embedding compares it. So with equal weights both terms together are the sum over all blocks.

Shape letters: N videos, G blocks of a network (the student's and the teacher's may differ), E size of a state.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reskd.losses.dtypes import at_least_fp32


def intermediate_loss(
    student_NGE: Tensor, teacher_NGE: Tensor, *, student_valid_NG: Tensor, teacher_valid_NG: Tensor
) -> Tensor:
    """Squared distance of states, summed over blocks but the last, mean over videos: a scalar, fp32 (fp64 for fp64).

    The gradient goes to the student only. A video that fills fewer than two of the student's blocks adds 0.

    Args:
        student_NGE, teacher_NGE: floating point; blocks that a video does not fill come first.
        student_valid_NG, teacher_valid_NG: bool, True where the video fills the block.

    Raises:
        ValueError: the states differ in size.
    """
    check_blocks(
        student_blocks=student_NGE.shape[1],
        teacher_blocks=teacher_NGE.shape[1],
        student_dim=student_NGE.shape[2],
        teacher_dim=teacher_NGE.shape[2],
    )
    with torch.autocast(student_NGE.device.type, enabled=False):
        student_NGE, teacher_NGE = at_least_fp32(student_NGE, teacher_NGE)
        blocks_NG = _same_moments(student_valid_NG, teacher_valid_NG)
        matched_NGE = teacher_NGE.gather(1, blocks_NG[..., None].expand(-1, -1, teacher_NGE.shape[2]))
        distances_NG = (student_NGE - matched_NGE).square().sum(2)
        compared_NG = student_valid_NG & teacher_valid_NG.any(1, keepdim=True)
        return distances_NG.masked_fill(~compared_NG, 0)[:, :-1].sum(1).mean()


def check_blocks(*, student_blocks: int, teacher_blocks: int, student_dim: int | None, teacher_dim: int | None) -> None:
    """Raises ValueError where a network has no states of blocks, the student has one block, or the sizes differ."""
    for name, blocks in (("student", student_blocks), ("teacher", teacher_blocks)):
        if blocks == 0:
            raise ValueError(
                f"loss.intermediate compares the states of H-RNN after its blocks: expected a {name} with "
                "aggregator.kind = h_rnn, found one without; leave out loss.intermediate, or use loss.embedding."
            )
    if student_blocks == 1:
        raise ValueError(
            "loss.intermediate compares states before the last block: expected a student with two blocks or more, "
            "found one block; set a smaller student.aggregator.block_length, or leave out loss.intermediate."
        )
    if student_dim != teacher_dim:
        raise ValueError(
            f"loss.intermediate compares states element by element: expected equal sizes, found {student_dim} "
            f"(student) and {teacher_dim} (teacher); give both aggregators one hidden_dim and one num_layers."
        )


def _same_moments(student_valid_NG: Tensor, teacher_valid_NG: Tensor) -> Tensor:
    """For each of the student's blocks, the teacher's: Note [Which states are compared]. int64 (N, the student's G)."""
    num_student_N1 = student_valid_NG.sum(1, keepdim=True).clamp_min(1)
    num_teacher_N1 = teacher_valid_NG.sum(1, keepdim=True)
    number_NG = student_valid_NG.cumsum(1)
    matched_NG = (number_NG * num_teacher_N1 + num_student_N1 - 1).div(num_student_N1, rounding_mode="floor")
    num_blocks = teacher_valid_NG.shape[1]
    return (num_blocks - num_teacher_N1 + matched_NG - 1).clamp(0, num_blocks - 1)
