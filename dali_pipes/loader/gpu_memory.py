"""How much of a GPU's memory decoding may need, so that training leaves it free."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dali_pipes.config import DataConfig
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.sampling.spec import num_frames_read

# DALI's decoder keeps 8 decoded pictures of each clip of a batch, as NV12 (DALI 2.4, read in its sources).
_PICTURES_KEPT, _NV12_BYTES, _RGB_BYTES = 8, 1.5, 3
# Batches of whole frames at once: one is decoded while the one before is cropped.
_BATCHES_IN_WORK = 2
# Few videos are larger; a batch of only such ones is not to be expected.
_LARGEST_SHARE = 0.99


def decoding_bytes(manifest: Manifest, config: DataConfig, *, views: Sequence[str], num_clips: int) -> int:
    """GPU memory that a loader of batches of ``num_clips`` needs, an estimate; 0 for a manifest without videos.

    Args:
        views: names of the views in the batches.
    """
    rows = manifest.rows
    if not len(rows):
        return 0
    num_frames = num_frames_read(views, config)
    pixels = float(np.quantile(rows["height"].astype(np.int64) * rows["width"], _LARGEST_SHARE))
    decoded = pixels * (_PICTURES_KEPT * _NV12_BYTES + _BATCHES_IN_WORK * num_frames * _RGB_BYTES)
    settings = config.views
    sizes = {"teacher": settings.teacher.size if settings.teacher else (0, 0), "student": settings.student.size}
    rendered = sum(sizes[name][0] * sizes[name][1] for name in views) * num_frames * _RGB_BYTES
    return int(num_clips * (decoded + rendered * (config.loader.prefetch + 1)))
