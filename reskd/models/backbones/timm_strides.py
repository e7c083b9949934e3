"""The strides of the four stages of a network of timm, as ``stage_strides`` of a config sets them.

Note [Stages of any network]
As in a ResNet, a stage's features have a quarter, an eighth, a sixteenth and a thirty-second of the picture's height.
What comes before a quarter belongs to the first stage, which therefore has stride 1. (1, 1, 2, 2) doubles the sides of
the last feature map as R50-S of the ResKD paper does. Strides leave no trace in weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

_REDUCTIONS = (4, 8, 16, 32)
_STRIDED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


def set_stage_strides(network: Any, name: str, strides: Sequence[int]) -> None:
    """Stride 1 in the stages where ``strides`` has it; a stage's stride is that of all its strided convolutions.

    Raises:
        ValueError: the network has no four such stages, a stage is asked for a stride that it lacks, or a stage strides
            by something else than convolutions of odd size, whose padding fits any stride.
    """
    about = getattr(network, "feature_info", None)
    ends = [one["module"] for one in about if one["reduction"] in _REDUCTIONS] if isinstance(about, list) else []
    if len(ends) != len(_REDUCTIONS):
        raise ValueError(
            f"stage_strides: expected a network whose stages reduce the picture by 4, 8, 16 and 32, found {name}; "
            "leave stage_strides out."
        )
    if strides[0] != 1:
        raise ValueError(
            f"stage_strides: expected 1 for the first stage of {name}, whose reduction by 4 includes the stem, found "
            f"{strides[0]}; stride a later stage."
        )
    modules = dict(network.named_modules())
    names = list(modules)
    last = [max(i for i, one in enumerate(names) if one == end or one.startswith(f"{end}.")) for end in ends]
    for start, stop, stride in zip(last, last[1:], strides[1:], strict=False):
        if stride == 1:
            _remove_stride([modules[one] for one in names[start + 1 : stop + 1]], name)


def _remove_stride(stage: Sequence[Any], name: str) -> None:
    strided = [one for one in stage if isinstance(one, _STRIDED) and one.stride not in (1, (1, 1))]
    if not strided or any(not isinstance(one, nn.Conv2d) or one.kernel_size[0] % 2 == 0 for one in strided):
        found = ", ".join(f"{type(one).__name__} of size {one.kernel_size}" for one in strided) or "no convolution"
        raise ValueError(
            f"stage_strides: expected a stage of {name} that strides by convolutions of odd size, found {found}; leave "
            "stage_strides out or choose another network."
        )
    for one in strided:
        one.stride = (1, 1)
