"""A learned 1x1 projection from the student's channels to the teacher's, used in training only.

Shape letters: N clips, T frames, d the student's channels, D the teacher's, h w the student's grid.
"""

from __future__ import annotations

from torch import Tensor, nn


class Projection(nn.Module):
    """A 1x1 convolution, written as a linear layer over channels, which lie last: no layout to lose and no copy.

    It starts orthogonal with a bias of 0: no length of the features is changed (d <= D), and no direction of the
    student's gradient is preferred.

    Args:
        student_dim: d.
        teacher_dim: D.
    """

    def __init__(self, student_dim: int, teacher_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(student_dim, teacher_dim)
        nn.init.orthogonal_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features_NTdhw: Tensor) -> Tensor:
        """features_NTDhw, channels-last within a frame; for before they are enlarged, where the grid is smaller."""
        projected_NThwD: Tensor = self.linear(features_NTdhw.permute(0, 1, 3, 4, 2))
        return projected_NThwD.permute(0, 1, 4, 2, 3)
