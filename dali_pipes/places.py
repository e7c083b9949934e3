"""Which videos a config lists and where each lies, for each way of storing them (``data.storage``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dali_pipes.frame_folders import as_folder, folders_of, list_frame_folders
from dali_pipes.lists import ListedVideo, read_list
from dali_pipes.scan import Place, VideoFile, default_store, key_of
from dali_pipes.shards import list_shards, members_of
from dali_pipes.storage import Storage, is_shard_pattern

if TYPE_CHECKING:
    from dali_pipes.config import DataConfig


def storage_of(config: DataConfig) -> Storage:
    chosen = config.storage
    return Storage(chosen.kind, getattr(chosen, "template", ""), getattr(chosen, "url", None) or "")


def listed_videos(
    config: DataConfig, annotation: Path | str, on_message: Callable[[str], None] = lambda message: None
) -> list[ListedVideo]:
    """The videos of a list, of folders, or of the shards that ``annotation`` names.

    Raises:
        ValueError: as ``lists.read_list``, ``frame_folders.list_frame_folders`` and ``shards.list_shards``.
    """
    storage = storage_of(config)
    if storage.kind == "shards" and is_shard_pattern(annotation):
        store = config.scan_cache or default_store(config.root)
        return list_shards(config.root, storage, str(annotation), store, on_message)
    if storage.kind == "frames":
        if annotation == "folders":
            return list_frame_folders(config.root, storage.template)
        return [as_folder(config.root, video) for video in read_list(config.root, annotation)]
    return read_list(config.root, annotation)


def places_of(config: DataConfig, paths: Sequence[str]) -> Mapping[Path, Place]:
    """Where listed videos lie, by ``config.root / path``.

    Raises:
        ValueError: some are not there; names the first.
    """
    root, storage = config.root, storage_of(config)
    if storage.kind == "shards":
        return members_of(root, storage, paths, config.scan_cache or default_store(root))
    is_there = Path.is_dir if storage.kind == "frames" else Path.is_file
    missing = [path for path in paths if not is_there(root / path)]
    if missing:
        what = "folders of frames" if storage.kind == "frames" else "videos"
        raise ValueError(
            f"expected the {len(paths)} listed {what} under {root}, found {len(missing)} of them missing; the first is "
            f"{missing[0]}; check data.root."
        )
    if storage.kind == "frames":
        return folders_of(root, storage.template, paths)
    return {root / path: VideoFile(root / path, key_of(root / path, root)) for path in paths}
