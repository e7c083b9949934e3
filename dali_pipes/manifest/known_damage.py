"""The damaged files of a config's lists, as earlier scans found them. No video is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dali_pipes.manifest.sources import locations_of, store_of
from dali_pipes.manifest.split_lists import read_lists
from dali_pipes.scan.scan import latest_valid
from dali_pipes.scan.store import read_all_video_info

if TYPE_CHECKING:
    from dali_pipes.config import DataConfig


def known_damage(config: DataConfig) -> dict[str, str]:
    """Path in the list -> health, "cut: <reason>" or "bad: <reason>"; empty without an earlier scan.

    Files that have changed since, or are gone, are left out. Of shards and folders of frames none is known.

    Raises:
        ValueError, OSError: as ``read_lists`` and ``locations_of``.
    """
    if config.storage.kind != "videos":
        return {}
    known = read_all_video_info(store_of(config))
    damaged = {name: stored for name, stored in known.items() if any(one.health != "ok" for one in stored)}
    if not damaged:
        return {}
    splits = ("train", "test") if config.test is not None else ("train",)
    paths = read_lists(config, splits, lambda message: None, compare=False).paths
    found = {}
    for path, location in locations_of(config, [path for path in paths if path in damaged]).items():
        try:
            one = latest_valid(location, damaged[path], decode=False)
        except OSError:
            continue
        if one is not None and one.health != "ok":
            found[path] = one.health
    return found
