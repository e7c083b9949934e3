from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from reskd.losses.pixel import Projection


class Operations(TorchDispatchMode):
    """The names of the operators that ran."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


def _features(dim: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn((6, dim, 4, 3), generator=generator).to(memory_format=torch.channels_last)
    return maps.unflatten(0, (2, 3))


@pytest.mark.parametrize(("student_dim", "teacher_dim"), [(5, 8), (8, 5), (6, 6)])
def test_is_a_1x1_convolution(student_dim: int, teacher_dim: int) -> None:
    projection, features_NTdhw = Projection(student_dim, teacher_dim), _features(student_dim)
    torch.nn.init.normal_(projection.linear.bias)
    weight = projection.linear.weight[:, :, None, None]
    expected = torch.nn.functional.conv2d(features_NTdhw.flatten(0, 1), weight, projection.linear.bias)
    torch.testing.assert_close(projection(features_NTdhw).flatten(0, 1), expected)


def test_learns_before_it_teaches() -> None:
    """In the first step the projection has a gradient and the student none, in the second both."""
    projection, features_NTdhw, wanted = Projection(5, 8), _features(5).requires_grad_(), _features(8)
    for step in range(2):
        projected = projection(features_NTdhw)
        loss = torch.nn.functional.mse_loss(projected, wanted)
        of_student, of_projection = torch.autograd.grad(loss, [features_NTdhw, projection.linear.weight])
        assert of_projection.any() and bool(of_student.any()) == (step == 1)
        with torch.no_grad():
            projection.linear.weight -= 0.1 * of_projection


@pytest.mark.parametrize("autocast", [False, True])
def test_channels_last_in_and_out_without_a_copy(autocast: bool) -> None:
    projection, features_NTdhw = Projection(5, 8), _features(5).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast), Operations() as operations:
        projected = projection(features_NTdhw)
    assert projected.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    assert "clone" not in operations.names
    (gradient,) = torch.autograd.grad(projected.float().square().sum(), features_NTdhw)
    assert gradient.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
