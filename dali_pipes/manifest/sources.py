"""Find a config's listed videos and their locations, for each kind of storage (``data.storage``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dali_pipes.annotations.lists import ListedVideo, read_list
from dali_pipes.scan.scan import Location, default_store, video_files
from dali_pipes.storage.frame_folders import as_folder, folders_of, list_frame_folders
from dali_pipes.storage.shards import list_shards, members_of
from dali_pipes.storage_spec import Storage, is_shard_pattern

if TYPE_CHECKING:
    from dali_pipes.config import DataConfig


def storage_of(config: DataConfig) -> Storage:
    chosen = config.storage
    return Storage(chosen.kind, getattr(chosen, "template", ""), getattr(chosen, "url", None) or "")


def store_of(config: DataConfig) -> Path:
    """The folder of the scan's results."""
    return config.scan_cache or default_store(config.root)


def listed_videos(
    config: DataConfig, annotation: Path | str, on_message: Callable[[str], None] = lambda message: None
) -> list[ListedVideo]:
    """List the videos of a list, of folders, or of the shards that ``annotation`` names.

    Raises:
        ValueError: as ``lists.read_list``, ``frame_folders.list_frame_folders`` and ``shards.list_shards``.
    """
    storage = storage_of(config)
    if storage.kind == "shards" and is_shard_pattern(annotation):
        return list_shards(config.root, storage, str(annotation), store_of(config), on_message)
    if storage.kind == "frames":
        if annotation == "folders":
            return list_frame_folders(config.root, storage.template)
        return [as_folder(config.root, video) for video in read_list(config.root, annotation)]
    return read_list(config.root, annotation)


def locations_of(config: DataConfig, paths: Sequence[str]) -> Mapping[str, Location]:
    """Locations of listed videos, by their paths in the list.

    Raises:
        ValueError: a shard, or a video in it, is missing; the scan reports missing files and folders.
    """
    root, storage = config.root, storage_of(config)
    if storage.kind == "shards":
        return members_of(root, storage, paths, store_of(config))
    if storage.kind == "frames":
        return folders_of(root, storage.template, paths)
    return video_files(root, paths)
