"""Weights and frames that follow from a name, the same on every machine and in every version of any package.

A tensor called n has the 64-bit numbers of PCG64 seeded with the SHA-256 of n, each as 24 of its bits; NumPy promises
that raw numbers of a bit generator never change. What is made of them uses only sums, products and square roots, which
IEEE 754 rounds alike everywhere.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def fixed_uniform(name: str, shape: tuple[int, ...]) -> Tensor:
    """float32 in [-1, 1), multiples of 2**-23."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    count = int(np.prod(shape, dtype=np.int64))
    raw = np.random.PCG64(seed).random_raw((count + 1) // 2).view("<u4")[:count]
    return torch.from_numpy((raw >> 8).astype(np.float32)).mul_(2.0**-23).sub_(1).reshape(shape)


def fixed_frames(name: str, shape: tuple[int, ...]) -> Tensor:
    """uint8, coarse: every pixel of a block of 8 x 8 differs little, as in a picture.

    Args:
        shape: (N, T, H, W, 3).
    """
    n, t, h, w, c = shape
    coarse = fixed_uniform(f"{name} coarse", (n, t, -(-h // 8), -(-w // 8), c))
    blocks = coarse.repeat_interleave(8, 2).repeat_interleave(8, 3)[:, :, :h, :w]
    return (128 + 96 * blocks + 31 * fixed_uniform(f"{name} fine", shape)).to(torch.uint8)


def fixed_state(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """A state dict under mmaction2's names, with activations near 1 in every layer of a ResNet or a Swin.

    Args:
        shapes: of all tensors but the relative_position_index, which is no weight.
    """
    return {name: _fixed_tensor(name, shape) for name, shape in shapes.items()}


def _fixed_tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    values = fixed_uniform(name, shape)
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1000)
    if name.endswith("running_var"):
        return values.mul_(0.5).add_(1)
    if name.endswith((".bias", "running_mean")):
        return values.mul_(0.2)
    if name.endswith("relative_position_bias_table"):
        return values
    if len(shape) == 1:
        # Of a norm. Those whose results are summed are small, or the sums would grow from block to block.
        return values.mul_(0.1).add_(0.3 if re.search(r"(conv3|downsample)\.bn", name) else 1)
    fan_in = int(np.prod(shape[1:], dtype=np.int64))
    gain = 6 if ".bn" not in name and "conv" in name else 3
    return values.mul_((gain / fan_in) ** 0.5)
