"""Find a config's listed videos and their locations, for each kind of storage (``data.storage``)."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dali_pipes.annotations.lists import ParsedList, parse_list
from dali_pipes.choices import ListReading
from dali_pipes.scan.reading_cost import describe_cost
from dali_pipes.scan.scan import Location, default_store, video_files
from dali_pipes.storage.frame_folders import as_folder, folders_of, list_frame_folders
from dali_pipes.storage.shards import list_shards, members_of
from dali_pipes.storage_spec import Storage, is_shard_pattern
from dali_pipes.video_info import VideoInfo

if TYPE_CHECKING:
    from dali_pipes.config import DataConfig


def storage_of(config: DataConfig) -> Storage:
    chosen = config.storage
    return Storage(chosen.kind, getattr(chosen, "template", ""), getattr(chosen, "url", None) or "")


def store_of(config: DataConfig) -> Path:
    """The folder of the scan's results."""
    return config.scan_cache or default_store(config.root)


def listed_videos(
    config: DataConfig,
    annotation: Path | str,
    on_message: Callable[[str], None] = lambda message: None,
    prefer: ListReading = "auto",
) -> ParsedList:
    """List the videos of a list, of folders, or of the shards that ``annotation`` names.

    Args:
        on_message: called with a sentence on what is left out, and how the list was read.
        prefer: the reading of the data set's other list, as in ``lists.parse_list``.

    Raises:
        ValueError: as ``lists.parse_list``, ``frame_folders.list_frame_folders`` and ``shards.list_shards``.
    """
    storage = storage_of(config)
    if storage.kind == "shards" and is_shard_pattern(annotation):
        listed = list_shards(config.root, storage, str(annotation), store_of(config), on_message)
        return ParsedList(listed, (), "shards")
    if storage.kind == "frames" and annotation == "folders":
        parsed = list_frame_folders(config.root, storage.template)
    else:
        parsed = parse_list(config.root, annotation, config.list_format, prefer)
        if storage.kind == "frames":
            parsed = replace(parsed, videos=[as_folder(config.root, video) for video in parsed.videos])
    for remark in parsed.remarks:
        on_message(remark)
    return parsed


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


def cost_of(config: DataConfig, video_info: Mapping[str, VideoInfo]) -> list[str]:
    """One line if clips of these videos are costly to read, with the command that transcodes them."""
    if config.storage.kind != "videos" or config.cache != "none":
        return []
    classes = [config.classes] if config.classes else []
    lists = _list_files(config)
    return describe_cost(video_info.values(), config.root, lists, classes, num_frames=config.sampling.num_frames)


def scan_command(config: DataConfig) -> str:
    """The command that names the damaged ones of the listed videos; for other storage than files it takes a config."""
    if config.storage.kind != "videos":
        return "reskd prepare scan --config CONFIG"
    command = ["reskd", "prepare", "scan", str(config.root)]
    if lists := _list_files(config):
        command += ["--list", *map(str, lists)]
    if config.list_format != "auto":
        command += ["--list-format", config.list_format]
    if config.scan_cache:
        command += ["--scan-cache", str(config.scan_cache)]
    return shlex.join([*command, "--index-only"] if config.scan == "index_only" else command)


def _list_files(config: DataConfig) -> list[Path | str]:
    return [name for name in (config.train, config.test) if name and name != "folders"]
