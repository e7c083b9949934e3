"""The logit map term against a loop over places in plain arithmetic, its gradient, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reskd.losses.logit_map import logit_map_loss


def _maps(small: tuple[int, int], large: tuple[int, int], *, num_classes: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(small[0] + 10 * large[1])
    student, teacher = (3 * torch.randn((2, 3, num_classes, *grid), generator=generator) for grid in (small, large))
    return student.double(), teacher.double()


def _sample(map_hw: Tensor, y: int, x: int, size: tuple[int, int]) -> float:
    """Bilinear, align_corners=False, in Python numbers."""
    axes = []
    for index, num_out, num_in in ((y, size[0], map_hw.shape[0]), (x, size[1], map_hw.shape[1])):
        at = max((index + 0.5) * num_in / num_out - 0.5, 0.0)
        low = min(int(at), num_in - 1)
        axes.append([(low, 1 - (at - low)), (min(low + 1, num_in - 1), at - low)])
    return sum(wy * wx * map_hw[i, j].item() for i, wy in axes[0] for j, wx in axes[1])


def _probabilities(scores: list[float], temperature: float) -> list[float]:
    powers = [math.exp(score / temperature) for score in scores]
    return [power / sum(powers) for power in powers]


def _by_hand(student_NTKhw: Tensor, teacher_NTKHW: Tensor, temperature: float) -> float:
    total, (num_clips, num_frames, num_classes, height, width) = 0.0, teacher_NTKHW.shape
    for n in range(num_clips):
        for t in range(num_frames):
            for y in range(height):
                for x in range(width):
                    taught = _probabilities(teacher_NTKHW[n, t, :, y, x].tolist(), temperature)
                    scores = [_sample(student_NTKhw[n, t, k], y, x, (height, width)) for k in range(num_classes)]
                    learned = _probabilities(scores, temperature)
                    total += sum(p * math.log(p / q) for p, q in zip(taught, learned, strict=True))
    return temperature**2 * total / teacher_NTKHW.numel()


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
@pytest.mark.parametrize(("small", "large"), [((4, 4), (7, 7)), ((1, 1), (3, 2)), ((2, 5), (3, 7)), ((3, 3), (3, 3))])
def test_equals_the_loop_over_places_and_classes(
    small: tuple[int, int], large: tuple[int, int], temperature: float
) -> None:
    student, teacher = _maps(small, large)
    loss = logit_map_loss(student, teacher, temperature=temperature)
    assert loss.item() == pytest.approx(_by_hand(student, teacher, temperature), rel=1e-12)


def test_equal_maps_cost_nothing_and_others_something() -> None:
    student, teacher = _maps((3, 3), (3, 3))
    assert logit_map_loss(teacher.clone(), teacher, temperature=2).item() == pytest.approx(0, abs=1e-15)
    assert logit_map_loss(teacher + 5, teacher, temperature=2).item() == pytest.approx(0, abs=1e-15)  # softmax's shift
    assert logit_map_loss(student, teacher, temperature=2) > 0


def test_the_gradient_is_that_of_finite_differences() -> None:
    student, teacher = (scores[:1, :2] for scores in _maps((2, 3), (5, 4)))
    assert torch.autograd.gradcheck(lambda x: logit_map_loss(x, teacher, temperature=2.0), student.requires_grad_())


def test_the_teacher_gets_no_gradient() -> None:
    student, teacher = _maps((2, 2), (3, 3))
    logit_map_loss(student.requires_grad_(), teacher.requires_grad_(), temperature=2).backward()
    assert student.grad is not None and teacher.grad is None


def test_classifying_first_gives_the_scores_of_enlarging_first() -> None:
    """Note [Classifier first]."""
    torch.manual_seed(0)
    head, features_BDhw = nn.Linear(6, 4).double(), torch.randn(2, 6, 4, 4).double()

    def enlarge(map_BDhw: Tensor) -> Tensor:
        return F.interpolate(map_BDhw, size=(7, 7), mode="bilinear", align_corners=False)

    def classify(map_BDhw: Tensor) -> Tensor:
        return head(map_BDhw.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    torch.testing.assert_close(enlarge(classify(features_BDhw)), classify(enlarge(features_BDhw)), rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_scores_are_read_in_fp32_also_under_autocast(dtype: torch.dtype) -> None:
    student, teacher = (scores.to(dtype) for scores in _maps((4, 4), (7, 7)))
    with torch.autocast("cpu", torch.bfloat16):
        loss = logit_map_loss(student, teacher, temperature=2)
    assert loss.dtype == torch.float32
    exact = logit_map_loss(student.double(), teacher.double(), temperature=2)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6)


def test_scores_far_apart_stay_finite() -> None:
    student, teacher = (1e4 * scores.float() for scores in _maps((2, 2), (3, 3)))
    loss = logit_map_loss(student.requires_grad_(), teacher, temperature=1)
    loss.backward()
    assert loss.isfinite() and student.grad is not None and student.grad.isfinite().all()


def test_channels_last_stays_so_and_changes_nothing() -> None:
    student, teacher = _maps((4, 3), (7, 5))
    found = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        maps = [
            m.flatten(0, 1).contiguous(memory_format=memory_format).unflatten(0, (2, 3)) for m in (student, teacher)
        ]
        maps[0].requires_grad_()
        loss = logit_map_loss(*maps, temperature=2)
        (gradient,) = torch.autograd.grad(loss, maps[0])
        found.append((loss.detach(), gradient))
    assert gradient.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("shape", [(2, 3, 5, 2, 2), (2, 2, 4, 2, 2), (1, 3, 4, 2, 2), (6, 4, 2, 2)])
def test_maps_of_other_classes_frames_or_clips_are_refused(shape: tuple[int, ...]) -> None:
    _, teacher = _maps((2, 2), (3, 3))
    with pytest.raises(ValueError, match=r"the same N, T and K, found student .*both must know the same classes"):
        logit_map_loss(torch.zeros(shape), teacher, temperature=2)
