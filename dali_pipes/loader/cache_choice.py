"""Where a loader keeps decoded frames (``data.cache``), and whether they fit."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection
from pathlib import Path

from dali_pipes.config import DataConfig
from dali_pipes.file_names import on_one_line
from dali_pipes.jobs.process_folder import process_folder
from dali_pipes.jobs.progress import gib
from dali_pipes.loader.frame_cache import FrameCache
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.manifest.sources import store_of

log = logging.getLogger(__name__)
SHARED_MEMORY = Path("/dev/shm")
_GIB = 2**30


def open_cache(config: DataConfig, manifest: Manifest, decoders: Collection[str]) -> FrameCache | None:
    """Choose the folder that ``data.cache`` asks for; None if it asks for none.

    Args:
        decoders: names of the decoders of the manifest's files.

    Raises:
        ValueError: DALI is to decode, or the frames of the videos that are new to it do not fit.
    """
    if config.cache == "none":
        return None
    if "dali" in decoders:
        raise ValueError(
            f"data.cache={config.cache} keeps frames that PyAV decodes, but DALI decodes here; set "
            "data.loader.decoder=pyav, or data.cache=none."
        )
    if config.cache == "ram":
        cache = FrameCache(process_folder(SHARED_MEMORY if SHARED_MEMORY.is_dir() else None) / "frames")
    else:
        cache = FrameCache((config.cache_folder or store_of(config) / "frames").absolute())
    _check_room(cache, manifest, config)
    return cache


def _check_room(cache: FrameCache, manifest: Manifest, config: DataConfig) -> None:
    needed, num_missing = cache.missing(manifest)
    existing = next(parent for parent in (cache.folder, *cache.folder.parents) if parent.is_dir())
    free = shutil.disk_usage(existing).free
    if needed > free:
        other = "set data.cache=disk" if config.cache == "ram" else "name another data.cache_folder"
        raise ValueError(
            f"{cache.folder}: expected room for {needed / _GIB:,.1f} GiB of decoded frames, found {free / _GIB:,.1f} "
            f"GiB; {other}, transcode the videos to a smaller size, or set data.cache=none."
        )
    if needed:
        log.info(
            "data.cache = %s: the decoded frames of %d videos will take %s of %s free in %s, written as clips of them "
            "are first read", config.cache, num_missing, gib(needed), gib(free), on_one_line(cache.folder),
        )  # fmt: skip
