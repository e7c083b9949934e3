"""Estimates the memory, disk and time of a run before it starts. Rough on purpose: good to a factor of two.

Shape letters: N clips, T frames, C = 3 color channels.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reskd.device_times import wait_for
from reskd.models.recognizer import data_shape
from reskd.training.precision import Precision

# Bytes per parameter: fp32 weights, gradient and the optimizer's state (momentum; Adam has one more).
_TRAINING_BYTES_PER_PARAMETER = 12
_CHECKPOINT_BYTES_PER_PARAMETER = 8
# A longer pass is not repeated to be timed warm.
_LONG_PASS_S = 2.0


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes on the device of one rank: a fixed part, and a part per clip."""

    fixed_bytes: int
    bytes_per_clip: int

    def total_bytes(self, num_clips: int) -> int:
        return self.fixed_bytes + num_clips * self.bytes_per_clip


def estimate_memory(
    student: nn.Module, teacher: nn.Module | None, view_shapes: dict[str, tuple[int, ...]], precision: str
) -> MemoryNeed:
    """Count weights, gradients, momentum and the tensors kept for the backward pass; nothing is computed.

    Args:
        student, teacher: uint8 data -> RecognizerOutput, on any device. A teacher with trainable parameters counts as
            trained.
        view_shapes: "student" and perhaps "teacher" -> (T, H, W), or (T, D).
        precision: "fp32", or "fp16" and "bf16", which keep half the bytes.
    """
    kept = saved_bytes(student, view_shapes["student"])
    frames = sum(math.prod(data_shape(shape, 1)) for shape in view_shapes.values())
    fixed = _TRAINING_BYTES_PER_PARAMETER * _num_parameters(student)
    if teacher is not None and _learns(teacher):
        kept += saved_bytes(teacher, view_shapes["teacher"])
        fixed += _TRAINING_BYTES_PER_PARAMETER * _num_parameters(teacher)
    elif teacher is not None:
        fixed += 4 * _num_parameters(teacher)
    return MemoryNeed(fixed, frames + (kept if precision == "fp32" else kept // 2))


def checkpoint_bytes(*models: nn.Module | None) -> int:
    """Size of one checkpoint file: weights and optimizer state of the trained models."""
    learning = [model for model in models if model is not None and _learns(model)]
    return sum(_CHECKPOINT_BYTES_PER_PARAMETER * _num_parameters(model) for model in learning)


def saved_bytes(model: nn.Module, shape: tuple[int, ...]) -> int:
    """fp32 bytes that autograd keeps for the backward pass of one clip, without parameters.

    Half of the bytes of two clips: batch norm of an embedding has no variance with one clip.
    """
    tensors = {name: value.to("meta") for name, value in (*model.named_parameters(), *model.named_buffers())}
    own = {value.untyped_storage()._cdata for value in tensors.values()}
    kept: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        # Meta storages have no address; the tensor is kept alive so that no other storage gets its key.
        kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    data = torch.empty(data_shape(shape, 2), dtype=torch.uint8, device="meta")
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        torch.func.functional_call(model, tensors, (data,))
    return sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in own) // 2


def measure_seconds_per_clip(
    student: nn.Module,
    teacher: nn.Module | None,
    view_shapes: dict[str, tuple[int, ...]],
    precision: Precision,
    *,
    num_clips: int,
) -> float:
    """Wall time per clip of one training pass: the teacher's and the student's forward pass, and the backward pass.

    The networks come from the meta device and get random weights on ``precision.device``: only the time counts.
    """
    for model in (student, teacher):
        if model is not None:
            make_up_weights(model, precision.device)
    shapes = {name: data_shape(shape, num_clips) for name, shape in view_shapes.items()}
    data = {name: torch.zeros(shape, dtype=torch.uint8, device=precision.device) for name, shape in shapes.items()}
    seconds = 0.0
    # The first pass also chooses kernels and allocates; on a CPU that is little beside the minute of a large network.
    for is_second in (False, True):
        if is_second and precision.device.type == "cpu" and seconds > _LONG_PASS_S:
            break
        wait_for(precision.device)
        started = time.perf_counter()
        with precision.autocast():
            taught = teacher(data["teacher"]) if teacher is not None else None
            output = student(data["student"])
        total = output.logits_NK.float().sum()
        if taught is not None and taught.logits_NK.requires_grad:
            total = total + taught.logits_NK.float().sum()
        if output.features_NTDHW is not None:
            total = total + output.features_NTDHW.float().mean()
        total.backward()
        wait_for(precision.device)
        seconds = time.perf_counter() - started
    return seconds / num_clips


def make_up_weights(module: nn.Module, device: torch.device) -> None:
    """Move a module of the meta device to ``device``, with random weights under which activations keep their size.

    He et al., arXiv:1502.01852. Overflows would keep batch norm from being folded, and denormal numbers are slow.
    """
    module.to_empty(device=device)
    with torch.no_grad():
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if tensor.dim() >= 2 and tensor.is_floating_point():
                tensor.normal_(std=(2 * len(tensor) / tensor.numel()) ** 0.5)
            elif name.rpartition(".")[2] in ("weight", "running_var", "pixel_std_C"):
                tensor.fill_(1)
            else:
                tensor.zero_()


def _learns(model: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in model.parameters())


def _num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
