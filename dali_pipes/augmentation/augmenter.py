"""Augment a batch of rendered views on the device where they are.

Note [One implementation after all decoders]
DALI, PyAV and the cache of frames all end in uint8 views on the training device. Augmenting these there needs one
implementation, gives the same result whoever decoded, and on a GPU does not go back to the host. docs/decisions.md
says what was weighed.

Shape letters: N clips, n clips with the same operation, T frames, H height, W width, C = 3, V values of a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

import torch
from torch import Tensor

from dali_pipes.augmentation import color, geometry
from dali_pipes.augmentation.plan import Shape, Step, StepKind, plan_augmentation
from dali_pipes.augmentation_config import AugmentationConfig
from dali_pipes.config import DataConfig

_NUM_VALUES = 7  # V, the most that a step has
# Values of a view that are worked on at once, unless one frame has more: on a GPU few enough for its memory and enough
# to keep it busy; on a CPU few enough for its cache, and for memory that is used again and not asked of the system
# (hue of 8 frames of 224 x 224: 12 in place of 20 cpu-ms). An operation has up to so many bytes for each value at once.
_VALUES_AT_ONCE = {"cuda": 2**22, "cpu": 2**20}
_BYTES_A_VALUE = 32


class Operation(NamedTuple):
    """How a step is carried out.

    Args:
        apply: (frames_nTHWC, parameters) -> the new frames; the same parameters for both views.
        measure: (frames_nTHWC of one view, values_nV) -> parameters; default: the values.
    """

    apply: Callable[[Tensor, Tensor], Tensor]
    measure: Callable[[Tensor, Tensor], Tensor] = lambda frames_nTHWC, values_nV: values_nV


OPERATIONS: Mapping[StepKind, Operation] = {
    "brightness": Operation(color.brightness),
    "contrast": Operation(color.contrast, color.measure_contrast),
    "saturation": Operation(color.saturation),
    "hue": Operation(color.hue),
    "sharpness": Operation(color.sharpness),
    "auto_contrast": Operation(color.auto_contrast, color.measure_auto_contrast),
    "equalize": Operation(color.equalize, color.measure_equalize),
    "posterize": Operation(color.posterize),
    "solarize": Operation(color.solarize),
    "affine": Operation(geometry.affine),
    "erase_color": Operation(geometry.erase_with_color),
    "erase_noise": Operation(geometry.erase_with_noise),
}


class Augmenter:
    """Augments the clips of training batches; a clip's draws depend only on (seed, position, attempt).

    Args:
        config: the recipes.
        shape: what the plans must know of the views.
    """

    def __init__(self, config: AugmentationConfig, shape: Shape, *, seed: int) -> None:
        self._config, self._shape, self._seed = config, shape, seed

    def __call__(
        self, views: Mapping[str, Tensor], *, positions: Sequence[int], attempts: Sequence[int]
    ) -> dict[str, Tensor]:
        """Return the augmented views; the given ones stay as they are.

        Args:
            views: name -> uint8 (N, T, H, W, C); "teacher" and "student" show the same clips.
            positions, attempts: of the N clips.
        """
        plans = [
            plan_augmentation(self._config, self._shape, seed=self._seed, position=position, attempt=attempt)
            for position, attempt in zip(positions, attempts, strict=True)
        ]
        return apply_plans(views, plans)


def apply_plans(views: Mapping[str, Tensor], plans: Sequence[Sequence[Step]]) -> dict[str, Tensor]:
    """Apply each clip's steps one after another; clips whose next step is of one kind are worked on together.

    What a step measures is measured in the student's view if there is one, so that a student sees the same with and
    without its teacher. Nothing here waits for the device.
    """
    if not any(plans):
        return dict(views)
    changed = {name: view.clone() for name, view in views.items()}
    reference = changed.get("student", next(iter(changed.values())))
    groups, rows = _grouped(plans)
    table = torch.tensor(rows, dtype=torch.float64)
    if reference.is_cuda:
        table = table.pin_memory().to(reference.device, non_blocking=True)
    most = _VALUES_AT_ONCE.get(reference.device.type, 2**22)
    at_once = max(1, most // max(view[0].numel() for view in changed.values()))
    for kind, start, stop in groups:
        for first in range(start, stop, at_once):
            part = table[first : min(stop, first + at_once)]
            clips_n, values_nV = part[:, 0].long(), part[:, 1:]
            operation = OPERATIONS[kind]
            parameters = operation.measure(reference.index_select(0, clips_n), values_nV)
            for view in changed.values():
                _apply(operation, view, clips_n, parameters, most)
    return changed


def _grouped(plans: Sequence[Sequence[Step]]) -> tuple[list[tuple[StepKind, int, int]], list[list[float]]]:
    """Rows (clip, values) of all steps, and the (kind, start, stop) of those that are carried out together."""
    groups: list[tuple[StepKind, int, int]] = []
    rows: list[list[float]] = []
    for steps in zip_longest(*plans):  # first those of all clips that come first, then those that come second
        of_kind: dict[StepKind, list[list[float]]] = {}
        for clip, step in enumerate(steps):
            if step is not None:
                padding = [0.0] * (_NUM_VALUES - len(step.values))
                of_kind.setdefault(step.kind, []).append([float(clip), *step.values, *padding])
        for kind, found in of_kind.items():
            groups.append((kind, len(rows), len(rows) + len(found)))
            rows += found
    return groups, rows


def _apply(operation: Operation, view: Tensor, clips_n: Tensor, parameters: Tensor, most: int) -> None:
    """Apply it to these clips of the view, to at most ``most`` values at once."""
    frames_nTHWC = view.index_select(0, clips_n)
    for part in frames_nTHWC.split(max(1, most // frames_nTHWC[:, 0].numel()), 1):
        part.copy_(operation.apply(part, parameters))
    view.index_copy_(0, clips_n, frames_nTHWC)


def make_augmenter(config: DataConfig, *, seed: int) -> Augmenter | None:
    """The augmenter of a training loader; None if all of it is off."""
    if not config.augmentation.is_on:
        return None
    height, width = (config.views.teacher or config.views.student).size
    return Augmenter(config.augmentation, Shape(width / height, config.views.student.size), seed=seed)


def working_bytes(config: DataConfig, *, num_clips: int) -> int:
    """Memory that augmenting a batch takes beside it, an estimate; 0 if all of it is off."""
    if not config.augmentation.is_on:
        return 0
    views = config.views
    sizes = [view.size for view in (views.teacher, views.student) if view is not None]
    of_clip = [config.sampling.num_frames * math.prod(size) * 3 for size in sizes]
    return num_clips * sum(of_clip) + _BYTES_A_VALUE * max(_VALUES_AT_ONCE["cuda"], *of_clip)
