"""What a step trains: the student, the loss with its parameters, and a joint teacher if there is one.

Note [One module, two optimizers]
A joint teacher is trained by its own task loss alone; the student is compared with its detached outputs. So one
backward pass of the sum of both losses gives each network its own gradient, and one DDP module sums both over the
ranks. Each then has its own optimizer and gradient norm. A classifier that both share is trained by both losses, is
updated once, and belongs to the student, so the student's file is complete.

Shape letters: N clips, T frames, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dali_pipes.batch import ClipBatch
from reskd.distributed import World, mean_over_ranks
from reskd.losses.diagnostics import gradient_squares, measure_gradients, measure_maps
from reskd.losses.distillation import DistillationLoss
from reskd.outputs import RecognizerOutput
from reskd.training.optimizer import build_optimizer, step_if_finite
from reskd.training.settings.optimizer import OptimizerConfig

Inputs = Mapping[str, tuple[Tensor, Tensor]]  # view name -> its data and valid_NT, a network's inputs


def inputs_of(batch: ClipBatch) -> Inputs:
    """The inputs of each network; a teacher without a view of its own sees the student's."""
    inputs = {name: (view.data, view.valid_NT) for name, view in batch.views.items()}
    return {"teacher": inputs["student"], **inputs} if "student" in inputs else inputs


class Networks(NamedTuple):
    """The networks of a run and their loss.

    Attributes:
        student: (a view's data, valid_NT) -> RecognizerOutput.
        teacher: the same for the teacher's view. Joint if any of its parameters requires a gradient, else frozen and
            run under no_grad; None trains on labels alone.
        loss: (student's output, ClipBatch.targets, teacher's output) -> LossTerms.
    """

    student: nn.Module
    teacher: nn.Module | None
    loss: DistillationLoss

    @property
    def joint_teacher(self) -> nn.Module | None:
        """The teacher trained in the same steps, by its own task loss and optimizer."""
        return self.teacher if self._is_joint else None

    @property
    def frozen_teacher(self) -> nn.Module | None:
        return None if self._is_joint else self.teacher

    @property
    def _is_joint(self) -> bool:
        return self.teacher is not None and any(value.requires_grad for value in self.teacher.parameters())


class StepOutput(NamedTuple):
    """The outputs of one pass.

    Attributes:
        total: to call backward on: the student's loss plus a joint teacher's.
        losses: for the log: total (the student's), its unweighted terms, alpha_<term> of each automatic weight,
            teacher_task; fp32 scalars.
        terms: of the student's loss, weighted, with their graphs.
        balanced: those that automatic weights are measured from, and
        places: where, if not at the student's output: see LossTerms.
        student: its output, with its graph.
        teacher: its output, without a graph; None without a teacher.
    """

    total: Tensor
    losses: dict[str, Tensor]
    terms: dict[str, Tensor]
    balanced: dict[str, Tensor]
    places: dict[str, Tensor]
    student: RecognizerOutput
    teacher: RecognizerOutput | None


class Trainable(nn.Module):
    """Everything trained, as one module for DDP and the checkpoint: Note [One module, two optimizers].

    Args:
        student: (a view's data, valid_NT) -> RecognizerOutput, with a ``head``. A frozen head stays in eval mode, as in
            the teacher that it comes from.
        loss: of the student.
        teacher: a joint one, trained by ``loss``'s task; None if the teacher is frozen.
    """

    @classmethod
    def of(cls, networks: Networks) -> Trainable:
        """All of ``networks`` except a frozen teacher."""
        return cls(networks.student, networks.loss, networks.joint_teacher)

    def __init__(self, student: nn.Module, loss: DistillationLoss, teacher: nn.Module | None = None) -> None:
        super().__init__()
        self.student = student
        self.loss = loss
        self.teacher = teacher

    def forward(self, inputs: Inputs, targets: Tensor, teacher_output: RecognizerOutput | None = None) -> StepOutput:
        """Run the networks and the loss on one batch.

        Args:
            inputs: the student's view, and that of a joint teacher.
            targets: ``ClipBatch.targets``.
            teacher_output: of a frozen teacher.
        """
        teacher_task = None
        if self.teacher is not None:
            joint_output: RecognizerOutput = self.teacher(*inputs["teacher"])
            teacher_task = self.loss.task(joint_output.logits_NK, targets)
            teacher_output = _detached(joint_output)
        output: RecognizerOutput = self.student(*inputs["student"])
        terms = self.loss(output, targets, teacher_output)
        losses = {"total": terms.total.detach(), **terms.unweighted}
        if self.loss.auto is not None:
            losses |= {f"alpha_{name}": weight for name, weight in self.loss.auto.by_name().items()}
        total = terms.total
        if teacher_task is not None:
            losses["teacher_task"] = teacher_task.detach()
            total = total + teacher_task
        return StepOutput(total, losses, terms.weighted, terms.balanced, terms.places, output, teacher_output)

    def diagnose(self, output: StepOutput, scale: Tensor) -> dict[str, Tensor]:
        """Sizes of one pass's gradients and feature maps; changes nothing. ``scale``: see ``measure_gradients``."""
        sizes = measure_gradients(output.terms, output.student, scale)
        return sizes | measure_maps(self.loss, output.student, output.teacher)

    def count_for_weights(self, output: StepOutput, scale: Callable[[], Tensor], *, step: int, world: World) -> None:
        """Count one pass of all ranks for the automatic weights. ``scale`` gives that of ``diagnose``; steps from 1."""
        if self.loss.auto is not None and self.loss.auto.measures(step):
            squares = gradient_squares(output.balanced, output.student, scale(), output.places)
            # Before the next forward, in which DDP gives every rank the buffers of rank 0.
            self.loss.auto.add(mean_over_ranks(squares, world))

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The trained networks, by the name of their view."""
        return {"student": self.student} | ({"teacher": self.teacher} if self.teacher is not None else {})

    def task_losses(self, inputs: Inputs, targets: Tensor) -> dict[str, Tensor]:
        """The task loss of each network alone, a 0-d tensor, by the name of its view."""
        return {
            name: self.loss.task(network(*inputs[name]).logits_NK, targets) for name, network in self.networks.items()
        }

    def train(self, mode: bool = True) -> Trainable:
        super().train(mode)
        head = getattr(self.student, "head", None)
        if head is not None and not any(parameter.requires_grad for parameter in head.parameters()):
            head.eval()
        return self


def _detached(output: RecognizerOutput) -> RecognizerOutput:
    """The same values, detached."""
    return output._replace(**{name: value.detach() for name, value in output._asdict().items() if value is not None})


class Learner(NamedTuple):
    """Parameters that are updated together, with one gradient norm."""

    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer

    def update(self, scaler: torch.amp.GradScaler, clip_norm: float | None) -> Tensor | None:
        """Clip the gradients and step. Returns their norm before clipping, a 0-d tensor; None in fp16.

        A step whose norm is not finite changes nothing. In fp16 that is normal, and it does not count: see Note [What
        stops a run] in divergence.py.
        """
        norm = None
        if clip_norm is not None:
            scaler.unscale_(self.optimizer)
            norm = nn.utils.clip_grad_norm_(self.parameters, clip_norm)
        elif not scaler.is_enabled():
            norm = nn.utils.get_total_norm([value.grad for value in self.parameters if value.grad is not None])
        if norm is None or scaler.is_enabled():
            scaler.step(self.optimizer)
            return None
        step_if_finite(self.optimizer, norm)
        return norm


def build_learners(trainable: Trainable, config: OptimizerConfig) -> list[Learner]:
    """One for student and loss, and one for a joint teacher; they share no parameter."""
    own = nn.ModuleDict({"student": trainable.student, "loss": trainable.loss})
    learners = [_learner(own, config)]
    if trainable.teacher is not None:
        learners.append(_learner(trainable.teacher, config, without=learners[0].parameters))
    return learners


def _learner(module: nn.Module, config: OptimizerConfig, without: Collection[nn.Parameter] = ()) -> Learner:
    left_out = {id(parameter) for parameter in without}
    parameters = [parameter for parameter in module.parameters() if id(parameter) not in left_out]
    return Learner(parameters, build_optimizer(module, config, without=without))
