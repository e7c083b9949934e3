"""What each term of the loss does to the student: its gradient beside the task's, and both networks' feature maps.

Note [Where gradients are compared]
GradNorm (arXiv:1711.02257, Chen et al. 2018) compares the gradients of the weights of the last layer that all terms
share. Here they are those of the last output that all terms share, as in MGDA-UB (arXiv:1810.04650, Sener and Koltun
2018): the student's feature map; without one its embedding, and without that its logits. All before it gets the
gradient through it alone, and the cost is a backward pass through the head. Each clip has its own map, so the squares
and products of passes and ranks add up exactly to those of the whole batch; gradients of weights would have to be kept
and summed first.

Shape letters: N clips, T frames, d the student's channels, D the teacher's, H W the teacher's grid, h w the student's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from reskd.losses.distillation import DistillationLoss
from reskd.outputs import RecognizerOutput

_SQUARE, _DOT = "diagnosed/square/", "diagnosed/dot/"


def measure_gradients(terms: Mapping[str, Tensor], student: RecognizerOutput, scale: Tensor) -> dict[str, Tensor]:
    """The square of each term's gradient, and its product with the task's: 0-d fp32 tensors for ``describe``.

    Call it before backward and outside autocast. It leaves graph and gradients as they are, and draws no numbers.

    Args:
        terms: name -> weighted value of one pass, 0-d, with its graph; "task" is one.
        student: the output that they come from.
        scale: 0-d; multiplies the terms before their backward as in the step itself, where GradScaler does.
    """
    shared = _shared(student)
    task = _gradient(terms["task"] * scale, shared)
    found = {}
    for name, term in terms.items():
        gradient = task if name == "task" else _gradient(term * scale, shared)
        norm = torch.linalg.vector_norm(gradient, dtype=torch.float32) / scale
        found[f"{_SQUARE}{name}"] = norm.square()
        if name != "task":
            found[f"{_DOT}{name}"] = ((task.float() / scale) * (gradient.float() / scale)).sum()
    return found


def gradient_squares(
    terms: Mapping[str, Tensor], student: RecognizerOutput, scale: Tensor, places: Mapping[str, Tensor] | None = None
) -> Tensor:
    """The square of each term's gradient, in the order of ``terms``: fp32; arguments as for ``measure_gradients``.

    Args:
        places: term -> the tensor at which its gradient is taken, where it is another: ``LossTerms.places``.
    """
    shared, places = _shared(student), places or {}
    gradients = [_gradient(term * scale, places.get(name, shared)) for name, term in terms.items()]
    return torch.stack([(torch.linalg.vector_norm(one, dtype=torch.float32) / scale).square() for one in gradients])


def _shared(student: RecognizerOutput) -> Tensor:
    """See Note [Where gradients are compared]."""
    outputs = (student.features_NTDHW, student.embedding_NE)
    return next((value for value in outputs if value is not None and value.requires_grad), student.logits_NK)


def _gradient(term: Tensor, shared: Tensor) -> Tensor:
    """Zeros where ``term`` does not depend on ``shared``."""
    if not (term.requires_grad and shared.requires_grad):
        return torch.zeros_like(shared)
    (gradient,) = torch.autograd.grad(term, shared, retain_graph=True, allow_unused=True)
    return torch.zeros_like(shared) if gradient is None else gradient


@torch.no_grad()
def measure_maps(
    loss: DistillationLoss, student: RecognizerOutput, teacher: RecognizerOutput | None
) -> dict[str, Tensor]:
    """The mean square of each network's feature map, and their cosine: 0-d fp32 tensors; empty without maps.

    The cosine is over channels, mean over locations, of the maps as the pixel term compares them: the student's
    projected and enlarged, the teacher's at the student's timestamps. It is left out where widths or numbers of frames
    differ, and 0 for a map of zeros. Call it outside autocast.
    """
    features_NTdhw = student.features_NTDHW
    if features_NTdhw is None:
        return {}
    features_NTdhw = features_NTdhw.float()
    found = {"feature_map/student_mean_square": features_NTdhw.square().mean()}
    if teacher is None or teacher.features_NTDHW is None:
        return found
    found["feature_map/teacher_mean_square"] = teacher.features_NTDHW.float().square().mean()
    mine_NTDhw, theirs_NTDHW = loss.comparable_maps(features_NTdhw, teacher.features_NTDHW.float())
    if mine_NTDhw.shape[:3] == theirs_NTDHW.shape[:3]:
        grid = theirs_NTDHW.shape[-2:]
        enlarged_BDHW = F.interpolate(mine_NTDhw.flatten(0, 1), size=grid, mode="bilinear", align_corners=False)
        found["feature_map/cosine"] = F.cosine_similarity(enlarged_BDHW, theirs_NTDHW.flatten(0, 1), dim=1).mean()
    return found


def describe(means: Mapping[str, float], *, num_shares: int) -> dict[str, float]:
    """``means`` with ``grad_norm/<term>`` and ``grad_cosine/<term>`` in place of the squares and products.

    Norms are those of the gradient of the global batch's loss at the shared output of all its clips; over several
    steps, the root of the mean square. A cosine is that of a term and the task, 0 where either gradient is. Values that
    are not finite are left out: in fp16, of a step whose gradients overflow.

    Args:
        means: over passes, ranks and diagnosed steps; other names stay as they are.
        num_shares: passes times ranks of a step; each one's gradient is divided by their number.
    """
    found = {name: value for name, value in means.items() if not name.startswith((_SQUARE, _DOT))}
    squares = {name.removeprefix(_SQUARE): value for name, value in means.items() if name.startswith(_SQUARE)}
    diagnosed = {f"grad_norm/{name}": math.sqrt(value / num_shares) for name, value in squares.items() if value >= 0}
    for name, square in squares.items():
        if name != "task":
            norms = math.sqrt(squares["task"]) * math.sqrt(square)
            diagnosed[f"grad_cosine/{name}"] = means[f"{_DOT}{name}"] / norms if norms != 0 else 0.0
    return found | {name: value for name, value in diagnosed.items() if math.isfinite(value)}
