"""Mixup (arXiv:1710.09412) and CutMix (arXiv:1905.04899): two clips are blended, or one is pasted into the other.

Note [Pairs of positions]
The clips of positions 2i and 2i + 1 are mixed with each other, with one share, box and choice of method, as in the
"pair" mode of timm's Mixup. The order of an epoch is random, so these are random pairs, and new ones in each epoch.
A pass holds an even number of consecutive positions and begins at an even one. So a pair always lies within one pass,
and the mixed clip of a position is a pure function of (seed, position): the same for any number of processes and
passes, and after any resume. Partners drawn from the whole batch would depend on all three.

Both views of a clip are mixed alike, so the teacher sees what the student sees, and its features and scores belong to
the mixed clip; they need no rule of their own. All frames have the same box, as in VideoMix's best variant (S-VideoMix,
arXiv:2012.03457).

Shape letters: N clips, T frames, H W of a view, C colors, K classes.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dali_pipes.batch import ClipBatch, View
from dali_pipes.sampling.counter_rng import hash_words
from reskd.training.settings.recipes import MixingConfig

# Of this use of the hash: different from all others.
_MIX = 301


class Mix(NamedTuple):
    """How the two clips of a pair are mixed.

    Attributes:
        share: of a clip's own label; its partner's has the rest.
        box: top, bottom, left and right edge of what is pasted from the partner, in 0..1; None: the clips are blended.
    """

    share: float
    box: tuple[float, float, float, float] | None


def choose_mix(config: MixingConfig, seed: int, pair: int, grid: tuple[int, int]) -> Mix:
    """The mix of positions 2 * ``pair`` and 2 * ``pair`` + 1.

    Args:
        grid: height and width of the smallest view. A box's edges lie between its pixels, and the share is the exact
            one there; in a view whose size is no multiple, they are rounded to its own pixels.
    """
    draw = random.Random(int(hash_words(seed, _MIX, pair)[0]))  # the generator has one use; see the Note
    if draw.random() >= config.probability:
        return Mix(1.0, None)
    cutmix_share = config.cutmix_share or 0.5
    if config.mixup_alpha is None or (config.cutmix_alpha is not None and draw.random() < cutmix_share):
        assert config.cutmix_alpha is not None
        return _box(draw, draw.betavariate(config.cutmix_alpha, config.cutmix_alpha), grid)
    return Mix(draw.betavariate(config.mixup_alpha, config.mixup_alpha), None)


def _box(draw: random.Random, share: float, grid: tuple[int, int]) -> Mix:
    """A box anywhere, cut at the border, with the picture's aspect and 1 - share of its area where it is not cut."""
    half = math.sqrt(1 - share) / 2
    edges: list[float] = []
    for size in grid:
        middle = draw.random()
        edges += [round(min(max(middle + side, 0.0), 1.0) * size) / size for side in (-half, half)]
    top, bottom, left, right = edges
    return Mix(1 - (bottom - top) * (right - left), (top, bottom, left, right))


class Mixer:
    """Mixes the clips of a batch in pairs: see Note [Pairs of positions].

    Args:
        num_classes: K.
    """

    def __init__(self, config: MixingConfig, *, seed: int, num_classes: int) -> None:
        self._config, self._seed, self._num_classes = config, seed, num_classes

    def __call__(self, batch: ClipBatch, positions_N: np.ndarray) -> tuple[ClipBatch, Tensor]:
        """The mixed clips and their targets; nothing waits for the device.

        Args:
            batch: on any device; with views of pixels.
            positions_N: int64, on the host: an even number of consecutive positions, the first one even.

        Returns:
            The batch with mixed views and, as a clip's labels, those of the larger share; and fp32 (N, K), the share of
            each label.
        """
        assert len(positions_N) % 2 == 0 and positions_N[0] % 2 == 0
        views = {name: view for name, view in batch.views.items() if isinstance(view, View)}
        height, width = min(tuple(view.data_NTHWC.shape[2:4]) for view in views.values())
        mixes = [choose_mix(self._config, self._seed, int(one) // 2, (height, width)) for one in positions_N[::2]]
        shares_N, boxes_N4 = _tensors(mixes, batch.labels_N.device)
        mixed = {name: mix_view(view, shares_N, boxes_N4) for name, view in views.items()}
        shares_N1 = shares_N[:, None]
        own_NK = self._label_shares(batch)
        targets_NK = shares_N1 * own_NK + (1 - shares_N1) * _partners(own_NK)
        is_own_N = shares_N >= 0.5
        labels_N = torch.where(is_own_N, batch.labels_N, _partners(batch.labels_N))
        sets_NK = batch.label_sets_NK
        if sets_NK is not None:
            sets_NK = torch.where(is_own_N[:, None], sets_NK, _partners(sets_NK))
        return dataclasses.replace(batch, views=mixed, labels_N=labels_N, label_sets_NK=sets_NK), targets_NK

    def _label_shares(self, batch: ClipBatch) -> Tensor:
        if batch.label_sets_NK is not None:
            return batch.label_sets_NK.float()
        zeros_NK = torch.zeros((batch.num_clips, self._num_classes), device=batch.labels_N.device)
        return zeros_NK.scatter_(1, batch.labels_N[:, None], 1.0)


def mix_view(view: View, shares_N: Tensor, boxes_N4: Tensor) -> View:
    """Each clip with its partner, rounded to uint8 as in timm's FastCollateMixup; half-way values go to the even one.

    Args:
        shares_N: fp32, a clip's own share where it has no box.
        boxes_N4: fp32, edges as in ``Mix``; NaN where the clips are blended.
    """
    height, width = view.data_NTHWC.shape[2:4]
    top_N1, bottom_N1, left_N1, right_N1 = (
        (boxes_N4[:, index, None] * size).round() for index, size in enumerate((height, height, width, width))
    )
    rows_H, columns_W = (torch.arange(size, device=boxes_N4.device) for size in (height, width))
    in_rows_NH = (rows_H >= top_N1) & (rows_H < bottom_N1)
    in_box_NHW = in_rows_NH[:, :, None] & ((columns_W >= left_N1) & (columns_W < right_N1))[:, None]
    has_box_N11 = boxes_N4[:, 0].isfinite()[:, None, None]
    weights_NHW = torch.where(has_box_N11, (~in_box_NHW).float(), shares_N[:, None, None])
    own_NTHWC = view.data_NTHWC.float()
    # Weights of 0 and 1 give the clips' own bytes.
    mixed_NTHWC = torch.lerp(_partners(own_NTHWC), own_NTHWC, weights_NHW[:, None, :, :, None])
    # Frames that one of the two does not repeat are real ones.
    is_mixed_N1 = (weights_NHW != 1).flatten(1).any(1)[:, None]
    valid_NT = view.valid_NT | (_partners(view.valid_NT) & is_mixed_N1)
    return View(mixed_NTHWC.round_().to(torch.uint8), view.frame_index_NT, valid_NT)


def unmixed(batch: ClipBatch, positions_N: np.ndarray) -> tuple[ClipBatch, Tensor]:
    """As a ``Mixer``, but the clips and their labels stay as they are."""
    return batch, batch.targets


def _tensors(mixes: Sequence[Mix], device: torch.device) -> tuple[Tensor, Tensor]:
    """fp32 shares_N and boxes_N4 on the device, each pair's mix for both of its clips; one copy for all."""
    none = (math.nan,) * 4
    on_host_N5 = torch.tensor([(mix.share, *(mix.box or none)) for mix in mixes for _ in range(2)])
    if device.type == "cuda":
        on_host_N5 = on_host_N5.pin_memory()  # a copy from other memory would wait for the device
    shares_boxes_N5 = on_host_N5.to(device, non_blocking=True)
    return shares_boxes_N5[:, 0], shares_boxes_N5[:, 1:]


def _partners(values: Tensor) -> Tensor:
    """The first and second of each pair swapped, along the first axis."""
    return values.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
