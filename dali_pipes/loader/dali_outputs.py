"""Check the outputs of DALI's graph, count their faults, and make a ClipBatch.

``tensors`` are the graph's outputs by name: the views, and the fields of ``OUTPUTS`` (sample.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dali_pipes.augmentation.augmenter import Augmenter
from dali_pipes.batch import PADDING_POSITION, ClipBatch, View, label_sets_of
from dali_pipes.fault_log import FaultLog
from dali_pipes.loader.clip_reader import BY_DALI, FELL_BACK
from dali_pipes.loader.external_source import ClipChooser
from dali_pipes.loader.sample import About, unpack_faults
from dali_pipes.manifest.manifest import Manifest


def doubtful_rows(tensors: Mapping[str, Tensor], manifest: Manifest, view: str) -> frozenset[int]:
    """The rows of clips with a frame that may be black by mistake.

    DALI outputs black frames if a file ends early; only for files that the scan decoded is that excluded.

    Args:
        view: name of the view to check.
    """
    about = _about(tensors)
    decoded = torch.from_numpy(manifest.rows["decoded"][about.row.numpy()])
    doubtful = ~decoded & torch.isin(about.how, torch.tensor(BY_DALI))
    if not doubtful.any():
        return frozenset()
    frames = tensors[view][doubtful.to(tensors[view].device)]
    black = (frames.flatten(2).amax(-1) == 0).any(1).cpu()
    return frozenset(about.row[doubtful][black].tolist())


def account_for(tensors: Mapping[str, Tensor], faults: FaultLog, chooser: ClipChooser) -> None:
    """Count the served clips and log each clip that a substitute replaced.

    Raises:
        TooManyBadClipsError: too many clips were replaced.
    """
    about = _about(tensors)
    faults.num_served += len(about.position)
    faults.num_substituted += int((about.attempt > 0).sum())
    faults.num_fallen_back += int((about.how == FELL_BACK).sum())
    for clip in torch.nonzero(about.attempt).flatten().tolist():
        position = int(about.position[clip])
        reasons = unpack_faults(tensors["faults"][clip].numpy().tobytes())
        for attempt in range(int(about.attempt[clip])):
            reason = reasons[attempt] if attempt < len(reasons) else "it could not be read; the reason was not kept"
            file = chooser.manifest.path(chooser.row_number(position, attempt))
            faults.add(file, reason, position=position, attempt=attempt)
    faults.check()


def augmented(tensors: Mapping[str, Tensor], augmenter: Augmenter, views: Sequence[str]) -> dict[str, Tensor]:
    """The same outputs with these views augmented, on their device."""
    about = _about(tensors)
    rendered = {name: tensors[name] for name in views}
    changed = augmenter(rendered, positions=about.position.tolist(), attempts=about.attempt.tolist())
    return {**tensors, **changed}


def to_batch(
    tensors: Mapping[str, Tensor], manifest: Manifest, views: Sequence[str], device: torch.device
) -> ClipBatch:
    """Make the batch with these views, on ``device``."""
    about, frame_index_NT = _about(tensors), tensors["frame_index_T"].long()
    frames_of = {
        "teacher": (frame_index_NT, tensors["valid_T"]),
        "student": (frame_index_NT.gather(1, tensors["student_k"].long()), tensors["student_valid_k"]),
    }
    return ClipBatch(
        {
            name: View(tensors[name], *(part.to(device, non_blocking=True) for part in frames_of[name]))
            for name in views
        },
        about.label,
        about.row,
        torch.where(about.padding == 1, PADDING_POSITION, about.position),
        about.attempt > 0,
        label_sets_of(manifest, about.row),
    ).to(device, non_blocking=True)


def _about(tensors: Mapping[str, Tensor]) -> About[Tensor]:
    return About(*tensors["about"].unbind(1))
