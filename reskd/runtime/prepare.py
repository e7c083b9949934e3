"""Prepare the process and the networks of a training for their device."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from reskd.distributed import World
from reskd.models.teacher import Teacher
from reskd.outputs import RecognizerOutput
from reskd.runtime.config import RuntimeConfig

_PLAIN_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def choose_kernels(config: RuntimeConfig, world: World, *, deterministic: bool) -> None:
    """Set torch's global choices: cuDNN's search for the fastest kernels, reproducible ones, TF32.

    Call it first: a setting that this device does not have is refused before a video is opened.

    Raises:
        ValueError: a setting that needs a GPU, on a CPU.
    """
    for name in ("cuda_graphs", "sync_batch_norm"):
        if getattr(config, name) and world.device.type != "cuda":
            raise ValueError(f"runtime.{name}: expected a GPU, found {world.device.type}; set it to false.")
    torch.backends.cudnn.benchmark = world.device.type == "cuda" and not deterministic
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.backends.cudnn.allow_tf32 = config.tf32 != "off"
    torch.backends.cuda.matmul.allow_tf32 = config.tf32 == "all"


def prepare_networks(student: nn.Module, teacher: nn.Module | None, config: RuntimeConfig, world: World) -> None:
    """Change networks in place before the first step; names of parameters and buffers stay.

    Call it once the batch size is chosen: each new shape is compiled anew, and shapes are not made symbolic, as kernels
    for a fixed shape are faster. Compiling itself happens in the first forward pass.

    Args:
        student: on its device.
        teacher: frozen (a ``Teacher``) or joint.
    """
    joint = teacher if not isinstance(teacher, Teacher) else None
    if config.sync_batch_norm and world.size > 1:
        for network in (student, joint):
            if network is not None:
                convert_batch_norms(network)
    if config.compile == "off":
        return
    mode = "reduce-overhead" if config.cuda_graphs else None
    compiled = [teacher.model if isinstance(teacher, Teacher) else teacher]
    if config.compile == "all":
        compiled.append(student)
    for network in compiled:
        if network is not None:
            # In place: the checkpoint's names stay, and so do hooks on the modules around it.
            network.compile(dynamic=False, mode=mode)
    if config.cuda_graphs and isinstance(teacher, Teacher):
        _keep_outputs_of_graphs(teacher)


def convert_batch_norms(network: nn.Module) -> None:
    """Replace batch norms by such that normalize with all ranks' batches; weights, buffers and names stay.

    Those that stay in eval mode when the network trains are left alone: they use no batch.
    """
    for parent in list(network.train().modules()):
        for name, child in list(parent.named_children()):
            if not (isinstance(child, _BatchNorm) and child.training) or isinstance(child, nn.SyncBatchNorm):
                continue
            if type(child) in _PLAIN_BATCH_NORMS:
                convert = nn.SyncBatchNorm.convert_sync_batchnorm
            else:  # timm's holds an activation too
                from timm.layers import convert_sync_batchnorm as convert
            setattr(parent, name, convert(child))


def _keep_outputs_of_graphs(teacher: Teacher) -> None:
    """A graph's outputs lie in memory that the next graph fills, and the student runs before the loss reads them."""
    teacher.register_forward_pre_hook(lambda module, inputs: torch.compiler.cudagraph_mark_step_begin())
    teacher.register_forward_hook(_cloned)


def _cloned(module: nn.Module, inputs: Any, output: RecognizerOutput) -> RecognizerOutput:
    tensors = {name: value for name, value in output._asdict().items() if isinstance(value, torch.Tensor)}
    return output._replace(**{name: value.clone() for name, value in tensors.items()})
