"""The pixel term of equation (1): it compares the student's features with the teacher's, location by location.

A learned 1x1 projection from the student's channels to the teacher's is optional and used in training only.

Shape letters: N clips, T frames, d the student's channels, D the teacher's (and the student's without a projection),
H W the teacher's grid, h w the student's.
"""

from __future__ import annotations

from torch import Tensor, nn

from reskd.choices import Backend
from reskd.ops.interpolate_mse import interpolate_mse_loss


def pixel_loss(student_NTDhw: Tensor, teacher_NTDHW: Tensor, *, backend: Backend = "auto") -> Tensor:
    """MSE between the student's features, enlarged frame by frame to H x W, and the teacher's: a scalar in fp32.

    Args:
        student_NTDhw, teacher_NTDHW: channels-last within a frame, so time folds into the batch without a copy.
        backend: see ``interpolate_mse_loss``.

    Raises:
        ValueError: the widths D or the numbers of frames T differ, or the backend cannot run.
    """
    check_widths(student_dim=student_NTDhw.shape[2], teacher_dim=teacher_NTDHW.shape[2])
    if student_NTDhw.shape[1] != teacher_NTDHW.shape[1]:
        raise ValueError(
            "the pixel term compares features frame by frame: expected equal numbers of frames, found "
            f"{student_NTDhw.shape[1]} (student) and {teacher_NTDHW.shape[1]} (teacher); set loss.time to nearest or "
            "interpolate."
        )
    return interpolate_mse_loss(student_NTDhw.flatten(0, 1), teacher_NTDHW.flatten(0, 1), backend=backend)


def check_widths(*, student_dim: int, teacher_dim: int) -> None:
    """Raises ValueError where the numbers of channels differ."""
    if student_dim != teacher_dim:
        raise ValueError(
            "the pixel term compares features channel by channel: expected equal widths, found "
            f"{student_dim} channels (student) and {teacher_dim} (teacher); set loss.pixel.projection to linear (a "
            "learned projection), or use loss.logit_map in place of loss.pixel (as the paper does for Swin), or choose "
            "backbones of equal width."
        )


class Projection(nn.Module):
    """A 1x1 convolution, written as a linear layer over the last axis, channels: no layout changes and no copy.

    It starts at 0, as the last layer of a new branch does elsewhere (LoRA, arXiv:2106.09685): the first steps teach the
    projection what the student's map already says about the teacher's, and the student's own gradient grows with it.
    Started at random it sends the student gradients without meaning, under which a pretrained one lost what it knew and
    never learned its labels (docs/lab_notes.md, 2026-11-29).

    Args:
        student_dim: d.
        teacher_dim: D.
    """

    def __init__(self, student_dim: int, teacher_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(student_dim, teacher_dim)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features_NTdhw: Tensor) -> Tensor:
        """features_NTDhw, channels-last within a frame. Called before enlarging, where the grid is smaller."""
        projected_NThwD: Tensor = self.linear(features_NTdhw.permute(0, 1, 3, 4, 2))
        return projected_NThwD.permute(0, 1, 4, 2, 3)
