"""Checks before the first clip is decoded: a batch of noise, and how many clips fit the GPU at once.

Note [Why a dry run]
A run makes one forward and backward on noise before its first step. DDP rebuilds its gradient buckets after its first
backward, which changes the order in which three or more ranks are summed. A run would change order once, a resumed run
twice, and their losses would differ. After a dry run both start with the buckets in their final order. It also finds a
batch that does not fit before any clip is decoded.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext

import torch
from torch import nn

from dali_pipes.batch import ClipBatch, FeatureView, View
from reskd.distributed import World, minimum_over_ranks
from reskd.memory import limited_to_available

log = logging.getLogger(__name__)

# The rest of a GPU is left for the optimizer's state and fragmentation; not measured yet.
_LARGEST_MEMORY_SHARE = 0.9
# Errors of cuDNN and cuBLAS where memory is nearly used up; they are plain RuntimeErrors.
_NO_MEMORY_LEFT = re.compile(
    r"unable to find (an engine|a valid cuDNN)|out of memory|CUBLAS_STATUS_(ALLOC_FAILED|NOT_INITIALIZED)|"
    r"CUDNN_STATUS_(ALLOC_FAILED|NOT_SUPPORTED|INTERNAL_ERROR|EXECUTION_FAILED)",
    re.IGNORECASE,
)


def noise_batch(view_shapes: Mapping[str, tuple[int, ...]], num_clips: int) -> ClipBatch:
    """Clips of random pixels or features with label 0. ``view_shapes``: view name -> (T, H, W), or (T, D)."""
    views: dict[str, View | FeatureView] = {}
    for name, (num_frames, *of_frame) in view_shapes.items():
        index = torch.arange(num_frames).expand(num_clips, -1).contiguous()
        valid = torch.ones_like(index, dtype=torch.bool)
        is_pixels = len(of_frame) == 2
        of_frame += [3] if is_pixels else []
        data = torch.randint(0, 256, (num_clips, num_frames, *of_frame), dtype=torch.uint8)
        views[name] = View(data, index, valid) if is_pixels else FeatureView(data, index, valid)
    numbers = torch.arange(num_clips)
    none = torch.zeros(num_clips, dtype=torch.bool)
    return ClipBatch(views, torch.zeros_like(numbers), numbers, numbers, none)


@contextmanager
def leaving_no_trace(module: nn.Module) -> Iterator[None]:
    """On exit, ``module`` has the buffers it had before, and no gradients."""
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    try:
        yield
    finally:
        module.zero_grad(set_to_none=True)
        for name, value in module.named_buffers():
            value.copy_(buffers[name])


@contextmanager
def within_memory(world: World) -> Iterator[None]:
    """On a CPU, have a dry run that needs too much memory raise an error, and not be killed by the kernel."""
    processes_here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    with nullcontext() if world.device.type == "cuda" else limited_to_available(processes_here):
        yield


def choose_clips_per_pass(
    *,
    global_batch_size: int,
    most: int | None,
    multiple_of: int = 1,
    world: World,
    try_pass: Callable[[int], None],
    decoding_bytes: Callable[[int], int] = lambda num_clips: 0,
) -> int:
    """The most clips that a rank can run at once, so that equal passes make up the global batch.

    On a CPU this is the rank's whole share, or ``most``. On a GPU, ``try_pass(num_clips)`` runs with fewer and fewer
    clips until it fits. Batch norm sees one pass at a time, so the choice is logged.

    Args:
        multiple_of: a pass holds a multiple of so many clips: 2 where they are mixed in pairs.
        decoding_bytes: GPU memory to leave free for decoding batches of so many clips.

    Raises:
        ValueError: the global batch does not split over the ranks, or a single clip does not fit.
    """
    if global_batch_size % (world.size * multiple_of):
        of = "of the" if multiple_of == 1 else f"of {multiple_of} (training.mixing) x"
        raise ValueError(
            f"training.global_batch_size = {global_batch_size}: expected a multiple {of} {world.size} processes; "
            "change it or --nproc-per-node."
        )
    share = global_batch_size // world.size
    candidates = [n for n in range(share, 0, -1) if share % n == n % multiple_of == 0 and (most is None or n <= most)]
    misfit = ""
    for num_clips in candidates:
        if world.device.type == "cuda":
            misfit = why_too_large(try_pass, num_clips, decoding_bytes(num_clips))
        if world.device.type != "cuda" or minimum_over_ranks(not misfit, world):
            log.info("a step of %d clips: %d per pass on each of %d ranks", global_batch_size, num_clips, world.size)
            return num_clips
    reason = misfit or "it does not fit another rank's"
    least = "one clip does" if multiple_of == 1 else f"{multiple_of} clips do"
    raise ValueError(f"{least} not fit the GPU ({reason}); make the views smaller or lower sampling.num_frames.")


def why_too_large(try_pass: Callable[[int], None], num_clips: int, decoding_bytes: int) -> str:
    """Why a pass of so many clips does not fit the GPU beside its decoding; empty if it does."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        try_pass(num_clips)
    except torch.cuda.OutOfMemoryError as error:
        return _first_line(error)
    except RuntimeError as error:
        if not _NO_MEMORY_LEFT.search(str(error)):
            raise
        return _first_line(error)
    finally:
        torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    needed, most = torch.cuda.max_memory_reserved() + decoding_bytes, _LARGEST_MEMORY_SHARE * total
    if needed <= most:
        return ""
    return f"{needed / 2**30:.1f} GiB, {decoding_bytes / 2**30:.1f} of them for decoding, of {total / 2**30:.1f}"


def _first_line(error: Exception) -> str:
    return " ".join(str(error).strip().splitlines()[:1])[:200]
