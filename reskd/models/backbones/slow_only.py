"""SlowOnly: torchvision's ResNet with time, the slow pathway of SlowFast (arXiv:1812.03982) alone.

As in MMAction2's ResNet3dSlowOnly, nothing strides in time; in the last two stages the first 1x1 convolution of every
block becomes 3x1x1, zero-padded in time; every other kernel sees one frame. Parameter names stay torchvision's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torchvision.models import get_model

_NUM_FRAMES_OF_A_KERNEL = 3
_STAGES_WITH_TIME = ("layer3", "layer4")


def build_slow_only(name: str) -> tuple[nn.Sequential, int]:
    """(network, feature_dim): clips_NCTHW -> features_NDTHW, random weights, torchvision's names with 5-D weights.

    Args:
        name: a ResNet of bottlenecks, as "resnet50".
    """
    with torch.device("meta"):
        flat = get_model(name, weights=None)
    parts = OrderedDict((name, part) for name, part in flat.named_children() if name not in ("avgpool", "fc"))
    network = nn.Sequential(parts)
    for path, module in list(network.named_modules()):
        sees_time = path.startswith(_STAGES_WITH_TIME) and path.endswith(".conv1")
        twin = _with_time(module, num_frames=_NUM_FRAMES_OF_A_KERNEL if sees_time else 1)
        if twin is not None:
            parent, _, child = path.rpartition(".")
            setattr(network.get_submodule(parent), child, twin)
    return network, flat.fc.in_features


def inflate_state(state: Mapping[str, Tensor], *, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Inflate an image network's state dict; on a clip of equal frames, the video network's output is the same.

    A kernel is repeated over its frames and divided by their number (I3D, arXiv:1705.07750); at the ends of a clip the
    kernel sees zeros, so outputs differ there. Other tensors, and those not in ``like``, stay unchanged.

    Args:
        state: name -> tensor; convolutions are (out, in, height, width).
        like: state dict of the network with time.
    """
    return {name: _inflate(value, like[name]) if name in like else value for name, value in state.items()}


def _inflate(flat: Tensor, deep: Tensor) -> Tensor:
    if flat.dim() != 4 or deep.dim() != 5:
        return flat
    num_frames = deep.shape[2]
    return flat.unsqueeze(2).repeat(1, 1, num_frames, 1, 1) / num_frames


def _with_time(module: nn.Module, *, num_frames: int) -> nn.Module | None:
    """A layer's version with time; None if it needs none."""
    if isinstance(module, nn.Conv2d):
        return _convolution(module, num_frames=num_frames)
    if isinstance(module, nn.BatchNorm2d):
        return nn.BatchNorm3d(module.num_features, eps=module.eps, momentum=module.momentum)
    if isinstance(module, nn.MaxPool2d):
        size, stride, padding = module.kernel_size, module.stride, module.padding
        assert isinstance(size, int) and isinstance(stride, int) and isinstance(padding, int)
        return nn.MaxPool3d((1, size, size), stride=(1, stride, stride), padding=(0, padding, padding))
    return None


def _convolution(flat: nn.Conv2d, *, num_frames: int) -> nn.Conv3d:
    assert flat.groups == 1
    assert flat.bias is None
    deep = nn.Conv3d(
        flat.in_channels,
        flat.out_channels,
        (num_frames, *flat.kernel_size),  # type: ignore[arg-type]
        stride=(1, *flat.stride),  # type: ignore[arg-type]
        padding=(num_frames // 2, *flat.padding),
        bias=False,
    )
    # As in torchvision and MMAction2.
    nn.init.kaiming_normal_(deep.weight, mode="fan_out", nonlinearity="relu")
    return deep
