"""The pixel term of equation (1): the student's features against the teacher's, place by place.

Shape letters: N clips, T frames, D feature channels, H W the teacher's grid, h w the student's.
"""

from __future__ import annotations

from torch import Tensor

from reskd.ops.interpolate_mse import Backend, interpolate_mse_loss


def pixel_loss(student_NTDhw: Tensor, teacher_NTDHW: Tensor, *, backend: Backend = "auto") -> Tensor:
    """MSE between the student's features, enlarged frame by frame to H x W, and the teacher's: a scalar in fp32.

    Args:
        student_NTDhw, teacher_NTDHW: channels-last within a frame, so that time folds into the batch without a copy.
        backend: see ``interpolate_mse_loss``.

    Raises:
        ValueError: the widths D or the numbers of frames T differ (see check_compatible), or the backend cannot serve.
    """
    check_compatible(
        student_dim=student_NTDhw.shape[2],
        teacher_dim=teacher_NTDHW.shape[2],
        student_frames=student_NTDhw.shape[1],
        teacher_frames=teacher_NTDHW.shape[1],
    )
    return interpolate_mse_loss(student_NTDhw.flatten(0, 1), teacher_NTDHW.flatten(0, 1), backend=backend)


def check_compatible(*, student_dim: int, teacher_dim: int, student_frames: int, teacher_frames: int) -> None:
    """Refuse, before anything is decoded, two networks that the pixel term cannot compare.

    Raises:
        ValueError: the feature widths or the numbers of frames differ.
    """
    if student_dim != teacher_dim:
        raise ValueError(
            "the pixel term compares features channel by channel: expected equal widths, found "
            f"{student_dim} channels (student) and {teacher_dim} (teacher); choose backbones of equal width "
            "(resnet18 and resnet34 have 512, resnet50, resnet101 and resnet152 have 2048, mobilenet_v2 has 1280), "
            "or leave out loss.pixel."
        )
    if student_frames != teacher_frames:
        raise ValueError(
            "the pixel term compares features frame by frame: expected equal numbers of frames, found "
            f"{student_frames} (student) and {teacher_frames} (teacher); let the student see all frames, "
            "or leave out loss.pixel."
        )
