"""The optimizer and the paper's parameter groups.

TSN's grouping (arXiv:1608.00859 and its public recipes): biases of convolutions and linear layers have twice the
learning rate and no decay, batch-norm parameters no decay. The biases of H-RNN's LSTMs are the exception: they are
columns of weights and treated as such, see Note [Steps that are not there] in reskd/models/aggregators/h_rnn.py.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from reskd.models.recognizer import Recognizer
from reskd.training.settings.optimizer import OptimizerConfig

_TABLES = "position_tables"
_KINDS = ("weights", "biases", "norms", _TABLES)
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def parameter_groups(
    module: nn.Module, config: OptimizerConfig, *, without: Collection[nn.Parameter] = ()
) -> list[dict[str, Any]]:
    """Weights, biases and norms, each with its ``lr_factor``; frozen parameters and ``without`` are left out.

    Attention's relative position tables are never decayed, as in Swin's own recipe. They are grouped with norms, and
    apart where they have settings of their own. With ``layer_decay`` each layer has groups of its own.

    Raises:
        ValueError: the layers of a backbone are not known.
    """
    left_out = {id(parameter) for parameter in without}
    heads = _heads_inside(module)
    layers = _layers_below_head(module) if config.layer_decay is not None else {}
    found: dict[tuple[bool, int, str], list[nn.Parameter]] = {}
    for path, owner in module.named_modules():
        in_backbone = config.backbone_lr_factor != 1 and "backbone" in path.split(".")
        in_backbone = in_backbone and not f"{path}.".startswith(heads)
        for name, parameter in owner.named_parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in left_out:
                below = layers.get(id(parameter), 0)
                found.setdefault((in_backbone, below, _kind(owner, name, config)), []).append(parameter)
    return [
        {
            "name": ("backbone_" if in_backbone else "") + kind + (f"_{below}_below_head" if below else ""),
            "params": found[in_backbone, below, kind],
            "lr_factor": _lr_factor(kind, config, in_backbone=in_backbone, below=below),
            "weight_decay": config.weight_decay if kind == "weights" or kind in config.also_decayed else 0.0,
        }
        for in_backbone, below, kind in sorted(found, key=lambda key: (*key[:2], _KINDS.index(key[2])))
    ]


def _heads_inside(module: nn.Module) -> tuple[str, ...]:
    """Prefixes of the names of heads; those of networks of the user's lie inside a backbone."""
    return tuple(
        f"{path}.{part.head_prefix}".lstrip(".")
        for path, part in module.named_modules()
        if isinstance(part, Recognizer)
    )


def _layers_below_head(module: nn.Module) -> dict[int, int]:
    """id of each parameter of the networks in ``module`` -> its number of layers below the head."""
    networks = [network for network in module.modules() if isinstance(network, Recognizer)]
    return {
        id(network.get_parameter(name)): below
        for network in networks
        for name, below in network.layers_below_head().items()
    }


def _kind(owner: nn.Module, name: str, config: OptimizerConfig) -> str:
    if name == "relative_position_bias_table":
        return "norms" if config.position_table_lr_factor is None and "norms" not in config.also_decayed else _TABLES
    if isinstance(owner, _NORMS):
        return "norms"
    return "biases" if name == "bias" else "weights"


def _lr_factor(kind: str, config: OptimizerConfig, *, in_backbone: bool, below: int = 0) -> float:
    if kind == _TABLES and config.position_table_lr_factor is not None:
        return config.position_table_lr_factor
    factor = config.backbone_lr_factor if in_backbone else 1.0
    if config.layer_decay is not None:
        factor *= config.layer_decay**below
    return factor * config.bias_lr_factor if kind == "biases" else factor


def build_optimizer(
    module: nn.Module, config: OptimizerConfig, *, without: Collection[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """Raises ValueError when apex is requested and NVIDIA's apex cannot be imported."""
    groups = parameter_groups(module, config, without=without)
    for group in groups:
        group["lr"] = config.lr * group["lr_factor"]
    if config.implementation == "apex":
        return _build_apex(groups, config)
    # Fused kernels take GradScaler's found_inf as a tensor, so an fp16 step does not wait for the GPU. On a CPU, fused
    # AdamW takes a fifth of the time.
    if config.name == "sgd":
        return _with_momentum_at_zero(
            torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov, fused=True)
        )
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)


def _with_momentum_at_zero(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Create momentum buffers of zeros before the first step.

    Note [Momentum before the first step]
    torch's fused SGD (2.6 to 2.15) makes its buffers with empty_like in the first step, and the kernel fills them. A
    kernel that skips the step, as GradScaler's found_inf makes it do in most first fp16 steps, leaves the memory as it
    was, and the next step adds it to the weights. Without dampening, a start from zero gives the same result.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"] if group["momentum"] else ():
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def _build_apex(groups: list[dict[str, Any]], config: OptimizerConfig) -> torch.optim.Optimizer:
    try:
        optimizers = importlib.import_module("apex.optimizers")
        fused_sgd, fused_adam = optimizers.FusedSGD, optimizers.FusedAdam
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"optimizer.implementation=apex: expected NVIDIA's apex, found none ({error}); use the Dockerfile's image, "
            "build github.com/NVIDIA/apex, or set optimizer.implementation=torch."
        ) from None
    if config.name == "sgd":
        return fused_sgd(groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov)
    return fused_adam(groups, lr=config.lr, betas=config.betas, adam_w_mode=True)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]


def step_if_finite(optimizer: torch.optim.Optimizer, norm: Tensor) -> None:
    """Step, unless the norm of the gradients, a 0-d tensor, is not finite; no device is waited for.

    torch's fused optimizers skip a step on the device where ``found_inf`` is 1, as GradScaler uses them. Apex's step.
    """
    if not getattr(optimizer, "_step_supports_amp_scaling", False):
        optimizer.step()
        return
    optimizer.found_inf = (~norm.isfinite()).to(norm.device, torch.float32)  # type: ignore[attr-defined]
    optimizer.step()
    del optimizer.found_inf  # type: ignore[attr-defined]


def load_moments(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Load a saved state, but keep the settings of each group (weight decay, betas, ...), which --set may have changed.

    ``load_state_dict`` alone would bring back those of the checkpoint.
    """
    settings = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(dict(state))
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update(own)
