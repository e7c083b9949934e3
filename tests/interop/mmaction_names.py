"""What the tensors of mmaction2 1.x are called and how large they are, written down without mmaction2 and without us.

make_golden.py compares these with mmaction2's own modules and stores a hash of what it saw there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Literal

Family = Literal["tsn", "tsm", "slow_only", "swin"]
FAMILIES: tuple[Family, ...] = ("tsn", "tsm", "slow_only", "swin")
NUM_CLASSES = 5

Shapes = dict[str, tuple[int, ...]]


def shapes_of(family: Family) -> Shapes:
    """mmaction2's name -> shape, of TSN, TSM and SlowOnly on ResNet-50 and of Swin-S, with its head."""
    backbone = dict(_swin() if family == "swin" else _resnet50(family))
    channels = 768 if family == "swin" else 2048
    shapes = {f"backbone.{name}": shape for name, shape in backbone.items()}
    return shapes | {"cls_head.fc_cls.weight": (NUM_CLASSES, channels), "cls_head.fc_cls.bias": (NUM_CLASSES,)}


def hash_of(shapes: Mapping[str, tuple[int, ...]]) -> str:
    lines = sorted(f"{name} {tuple(shape)}" for name, shape in shapes.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _resnet50(family: Family) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _conv("conv1", 64, 3, 7, family)
    width_in = 64
    for stage, num_blocks in enumerate((3, 4, 6, 3)):
        width = 64 * 2**stage
        for block in range(num_blocks):
            prefix = f"layer{stage + 1}.{block}"
            num_frames = 3 if family == "slow_only" and stage >= 2 else 1
            wrapper = ".net" if family == "tsm" else ""
            yield from _conv(f"{prefix}.conv1", width, width_in, 1, family, num_frames=num_frames, wrapper=wrapper)
            yield from _conv(f"{prefix}.conv2", width, width, 3, family)
            yield from _conv(f"{prefix}.conv3", 4 * width, width, 1, family)
            if block == 0:
                yield from _conv(f"{prefix}.downsample", 4 * width, width_in, 1, family)
            width_in = 4 * width


def _conv(
    name: str, out: int, width: int, side: int, family: Family, *, num_frames: int = 1, wrapper: str = ""
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """A ConvModule: convolution without bias, batch norm."""
    time = (num_frames,) if family == "slow_only" else ()
    yield f"{name}.conv{wrapper}.weight", (out, width, *time, side, side)
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.bn.{part}", (out,)
    yield f"{name}.bn.num_batches_tracked", ()


def _swin() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "patch_embed.proj.weight", (96, 3, 2, 4, 4)
    yield "patch_embed.proj.bias", (96,)
    yield from _norm("patch_embed.norm", 96)
    for stage, num_blocks in enumerate((2, 2, 18, 2)):
        width = 96 * 2**stage
        for block in range(num_blocks):
            prefix = f"layers.{stage}.blocks.{block}"
            yield from _norm(f"{prefix}.norm1", width)
            yield f"{prefix}.attn.relative_position_bias_table", (15 * 13 * 13, 3 * 2**stage)
            yield from _linear(f"{prefix}.attn.qkv", 3 * width, width)
            yield from _linear(f"{prefix}.attn.proj", width, width)
            yield from _norm(f"{prefix}.norm2", width)
            yield from _linear(f"{prefix}.mlp.fc1", 4 * width, width)
            yield from _linear(f"{prefix}.mlp.fc2", width, 4 * width)
        if stage < 3:
            yield f"layers.{stage}.downsample.reduction.weight", (2 * width, 4 * width)
            yield from _norm(f"layers.{stage}.downsample.norm", 4 * width)
    yield from _norm("norm3", 768)


def _norm(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def _linear(name: str, out: int, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (out, width)
    yield f"{name}.bias", (out,)
