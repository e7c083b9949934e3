"""How much shared memory and how much of a GPU's memory a loader needs.

Note [Shared memory]
A worker writes its clips into files in /dev/shm. Where they do not fit, the kernel kills the worker with SIGBUS while
it writes, and its message names neither the memory nor the folder. Containers get 64 MiB unless told otherwise.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dali_pipes.augmentation.augmenter import working_bytes
from dali_pipes.config import DataConfig, ViewsConfig
from dali_pipes.loader.sample import FAULT_BYTES
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.sampling.spec import num_frames_read

_SHARED = Path("/dev/shm")  # where glibc's shm_open makes files
_MIB = 2**20
_QUEUES = _MIB  # tasks, results and semaphores

# DALI's decoder keeps 8 decoded pictures of each clip of a batch, as NV12 (DALI 2.4, read in its sources).
_PICTURES_KEPT, _NV12_BYTES, _RGB_BYTES = 8, 1.5, 3
# Batches of whole frames at once: one is decoded while the one before is cropped.
_BATCHES_IN_WORK = 2
# Few videos are larger; a batch of only such ones is not to be expected.
_LARGEST_SHARE = 0.99


def check_shared_memory(needed_bytes: int) -> None:
    """Refuse a loader whose clips do not fit in /dev/shm, before its workers start; see Note [Shared memory].

    Raises:
        ValueError: less is free than ``needed_bytes``.
    """
    try:
        found = shutil.disk_usage(_SHARED)
    except OSError as error:
        if sys.platform != "linux":
            return
        raise ValueError(
            f"{_SHARED}: expected the system's shared memory, found none ({error}); mount a tmpfs there."
        ) from error
    if not os.access(_SHARED, os.W_OK):
        raise ValueError(f"{_SHARED}: expected shared memory to write to, found it read-only; mount it writable.")
    if found.free >= needed_bytes:
        return
    more = 2 ** max(0, math.ceil(math.log2((found.total - found.free + needed_bytes) / 2**30)))
    raise ValueError(
        f"{_SHARED}: expected {needed_bytes / _MIB:,.0f} MiB of free shared memory for the loader's clips, found "
        f"{found.free / _MIB:,.0f} of {found.total / _MIB:,.0f} MiB; start the container with --shm-size={more}g, or "
        "lower data.loader.prefetch, training.max_clips_per_pass or data.views."
    )


def needed_bytes(
    manifest: Manifest, config: DataConfig, fields: Sequence[str], batch_size: int, num_frames: int
) -> int:
    """Bytes of the batches that are in shared memory at once.

    DALI keeps as many batches as it prefetches for the workers, and again as many for itself.

    Args:
        fields: names of the ``sample.FIELDS`` that workers pass.
        batch_size: clips per batch of one rank.
        num_frames: frames that are read per clip.
    """
    of_clip = FAULT_BYTES + sum(_bytes_of(manifest, config.views, num_frames).get(name, 0) for name in fields)
    return 2 * config.loader.prefetch * batch_size * of_clip + _QUEUES


def _bytes_of(manifest: Manifest, views: ViewsConfig, num_frames: int) -> Mapping[str, int]:
    """Large fields -> bytes of a clip: exact for a view, a mean over the files for what is read from them."""
    rows = manifest.rows
    pixels = rows["height"].astype(np.int64) * rows["width"]
    teacher = views.teacher.size if views.teacher else (0, 0)
    student = teacher if views.student.upsample_to_teacher else views.student.size
    k = views.student.num_frames or num_frames
    whole = rows["file_size"].astype(np.int64)
    share = np.minimum(1, num_frames / np.maximum(1, rows["num_frames"]))
    return {
        "teacher_THWC": num_frames * math.prod(teacher) * 3,
        "student_THWC": min(k, num_frames) * math.prod(student) * 3,
        "raw_THWC": int(num_frames * pixels.mean() * 3),
        "encoded": int((whole * share).mean()),
    }


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
    augmenting = working_bytes(config, num_clips=num_clips)
    # Beside those made ahead: the one in use, and one whose memory DALI keeps until the device has caught up.
    return int(num_clips * (decoded + rendered * (config.loader.prefetch + 2))) + augmenting
