"""Build the manifests of a config's splits from its lists, and cache them.

For 250,000 videos, building manifests takes nine seconds and opening cached ones takes one.

Cached manifests are valid while the lists, the settings that choose among them and the scan's results are the same.
Each file is checked again for changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dali_pipes.annotations.lists import LabeledVideo
from dali_pipes.atomic_files import atomic_folder, atomic_write_bytes
from dali_pipes.file_names import on_one_line
from dali_pipes.jobs.map_files import make_engine
from dali_pipes.jobs.progress import progress_messages
from dali_pipes.manifest.copies import find_copies
from dali_pipes.manifest.manifest import SCHEMA_VERSION, Manifest
from dali_pipes.manifest.sources import locations_of, storage_of, store_of
from dali_pipes.manifest.split_lists import SplitLists, read_lists, report_copies
from dali_pipes.manifest.split_table import SPLIT_TABLE, split_table
from dali_pipes.manifest.splits import assign
from dali_pipes.scan.reading_cost import describe_cost, reading_factor
from dali_pipes.scan.scan import scan
from dali_pipes.scan.summary import describe_damage
from dali_pipes.video_info import VideoInfo

if TYPE_CHECKING:
    from dali_pipes.config import DataConfig


# A largest class of more than this many times the smallest one's videos is reported.
_IMBALANCE_TO_NAME = 1.5
# Settings that change the videos in a manifest, or their video info.
_SETTINGS = (
    *(
        "train",
        "test",
        "classes",
        "list_format",
        "group_pattern",
        "val_fraction",
        "test_fraction",
        "allow_shared_videos",
    ),
    *("scan", "storage"),
)
_SPLITS_VERSION = 2  # raised when lists are read or split in another way
_KEEP_DAYS = 30


def build_manifests(
    config: DataConfig,
    *,
    seed: int,
    splits: Sequence[str] = ("train", "val"),
    on_message: Callable[[str], None] = lambda message: None,
    num_workers: int = 2,
) -> dict[str, Manifest]:
    """Build the manifests of the requested splits ("train", "val", "test"). Files not in the scan cache are decoded.

    Videos of the test list are decoded only if "test" is requested; otherwise it is read as text, see Note [A video in
    two lists]. ``val`` is held out of the training list by group, and so is ``test`` if ``test_fraction`` is above 0.
    With val_fraction 0 the result has no "val".

    Args:
        seed: seed of the split into groups.
        on_message: called with one sentence for each damaged file that is new, the number of damaged files,
            class imbalance and costly reading.
        num_workers: number of scan processes.

    Raises:
        ValueError: an invalid list, label, group or file, or a video in training and test list, or "test" is
            requested and the config has no test list.
    """
    store = store_of(config)
    key = cache_key(config, seed=seed, splits=splits, store=store)
    manifests = load_manifests(store, key, on_message) if key else None
    if manifests is not None:
        return manifests
    messages: list[str] = []

    def report(message: str) -> None:
        messages.append(message)
        on_message(message)

    lists = read_lists(config, splits, report)

    video_info: dict[str, VideoInfo] = {}

    def scan_now(videos: Mapping[str, Sequence[LabeledVideo]]) -> dict[str, VideoInfo]:
        new = {name: [one for one in videos.get(name, ()) if one.path not in video_info] for name in splits}
        if any(new.values()):
            video_info.update(_look_into(config, new, store, on_message=on_message, num_workers=num_workers))
        return video_info

    videos = _assign_and_scan(config, lists, seed, scan_now, report)
    manifests = {}
    for name in splits:
        if found := videos.get(name):
            names, storage = lists.class_names, storage_of(config)
            manifests[name] = Manifest.from_video_info(config.root, names, found, video_info, storage)
            _name_faults(name, found, video_info, on_message, report)
            _name_imbalance(name, manifests[name], report)
    _name_cost(config, video_info, report)
    table = split_table(lists, videos)
    key = cache_key(config, seed=seed, splits=splits, store=store)  # the scan may have added to the store
    if key:
        keep_manifests(store, key, manifests, messages, table)
    else:
        _keep_split_table(_table_folder(config, seed=seed, splits=splits, store=store), table)
    return manifests


def _assign_and_scan(
    config: DataConfig,
    lists: SplitLists,
    seed: int,
    scan_videos: Callable[[Mapping[str, Sequence[LabeledVideo]]], dict[str, VideoInfo]],
    report: Callable[[str], None],
) -> dict[str, list[LabeledVideo]]:
    """Assign the videos to splits and scan the wanted ones; again if some videos are copies of others."""
    said: list[str] = []
    videos = assign(config, lists, seed, (), said.append)
    copies = find_copies(config, lists.paths, scan_videos(videos))
    if copies:
        report_copies(config, lists, copies, report)
        said.clear()
        videos = assign(config, lists, seed, copies, said.append)
        scan_videos(videos)
    for message in said:
        report(message)
    return videos


def _look_into(
    config: DataConfig,
    videos: Mapping[str, Sequence[LabeledVideo]],
    store: Path,
    *,
    on_message: Callable[[str], None],
    num_workers: int,
) -> dict[str, VideoInfo]:
    """Find the video info of all splits by a scan or from its store."""
    report = progress_messages(on_message, "scanning files", "files")
    return scan(
        locations_of(config, [video.path for found in videos.values() for video in found]),
        root=config.root,
        store=store,
        engine=make_engine("local", num_workers=num_workers),
        decode=config.scan == "decode",
        on_progress=lambda done, total, num_bytes: report(done, total),
    )


def _name_faults(
    split: str,
    videos: Sequence[LabeledVideo],
    video_info: Mapping[str, VideoInfo],
    on_message: Callable[[str], None],
    report: Callable[[str], None],
) -> None:
    """Name each damaged file now, and only their number at later starts."""
    for video in videos:
        health = video_info[video.path].health
        if health != "ok":
            on_message(f"{split}: {on_one_line(video.path)}: {health}")
    damage = describe_damage(video_info[video.path] for video in videos)
    if damage:
        report(f"{split}: {damage}; tools/prepare_data.py scan names each")


def _name_cost(config: DataConfig, video_info: Mapping[str, VideoInfo], report: Callable[[str], None]) -> None:
    if config.storage.kind != "videos":
        return
    factor = reading_factor(video_info.values(), num_frames=config.sampling.num_frames)
    lists = [name for name in (config.train, config.test) if name and name != "folders"]
    for line in describe_cost(factor, config.root, lists, [config.classes] if config.classes else []):
        report(line)


def _name_imbalance(split: str, manifest: Manifest, on_message: Callable[[str], None]) -> None:
    counts = manifest.class_counts()
    empty = [name for name, count in zip(manifest.class_names, counts, strict=True) if count == 0]
    if empty:
        on_message(f"{split}: no usable video of {len(empty)} classes: {', '.join(empty[:10])}")
    low, high = counts.argmin(), counts.argmax()
    if not empty and counts[high] > _IMBALANCE_TO_NAME * counts[low]:
        on_message(
            f"{split}: classes are unequal, from {counts[low]} ({manifest.class_names[low]}) to {counts[high]} "
            f"({manifest.class_names[high]}) videos"
        )


def cache_key(config: DataConfig, *, seed: int, splits: Sequence[str], store: Path) -> str | None:
    """Hash everything that determines the manifests; None if that is more than lists and scans.

    Args:
        store: folder of the scan's results.
    """
    if config.train == "folders" or config.storage.kind != "videos":
        return None
    settings = config.model_dump(mode="json", include=set(_SETTINGS))
    lists = [config.root / path for path in (config.train, config.test, config.classes) if path]
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for path in lists]
    scans = sorted((part.name, part.stat().st_size) for part in store.glob("*.csv"))
    known = [SCHEMA_VERSION, _SPLITS_VERSION, str(config.root.resolve()), settings, seed, list(splits), contents, scans]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:24]


def load_manifests(store: Path, key: str, on_message: Callable[[str], None]) -> dict[str, Manifest] | None:
    """Load the manifests cached under a key, if all their files are unchanged, and repeat their messages."""
    folder = _folder(store, key)
    if not (folder / "messages.json").is_file():
        return None
    manifests = {path.name: Manifest.open(path) for path in sorted(folder.iterdir()) if path.is_dir()}
    if not all(_is_unchanged(manifest) for manifest in manifests.values()):
        return None
    for message in json.loads((folder / "messages.json").read_text(encoding="utf-8")):
        on_message(message)
    os.utime(folder)
    return manifests


def keep_manifests(
    store: Path, key: str, manifests: Mapping[str, Manifest], messages: Sequence[str], table: bytes
) -> None:
    """Cache manifests, the messages about them and the table of splits; does nothing if the store is not writable."""
    folder = _folder(store, key)
    # If the store is not writable, the next start builds the manifests again.
    with suppress(OSError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with atomic_folder(folder, replace=True) as new:
            for name, manifest in manifests.items():
                manifest.save(new / name)
            (new / SPLIT_TABLE).write_bytes(table)
            (new / "messages.json").write_text(json.dumps(list(messages)), encoding="utf-8")
        _forget_old(folder.parent)


def copy_split_table(config: DataConfig, target: Path, *, seed: int, splits: Sequence[str]) -> None:
    """Write splits.csv of the manifests that were just built, or opened, for these splits.

    Raises:
        OSError: ``target`` cannot be written.
    """
    store = store_of(config)
    key = cache_key(config, seed=seed, splits=splits, store=store)
    folder = _folder(store, key) if key else _table_folder(config, seed=seed, splits=splits, store=store)
    if (folder / SPLIT_TABLE).is_file():
        atomic_write_bytes(target, (folder / SPLIT_TABLE).read_bytes())
        return
    # The store is not writable.
    lists = read_lists(config, splits, lambda message: None)
    copies = find_copies(config, lists.paths, {})
    atomic_write_bytes(target, split_table(lists, assign(config, lists, seed, copies, lambda message: None)))


def _keep_split_table(folder: Path, table: bytes) -> None:
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write_bytes(folder / SPLIT_TABLE, table)


def _table_folder(config: DataConfig, *, seed: int, splits: Sequence[str], store: Path) -> Path:
    """The folder of the table of splits, where manifests are not cached; each start writes it anew."""
    known = [str(config.root.resolve()), config.model_dump(mode="json", include=set(_SETTINGS)), seed, list(splits)]
    return _folder(store, hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:24])


def _folder(store: Path, key: str) -> Path:
    return store / "manifests" / key


def _is_unchanged(manifest: Manifest) -> bool:
    """Compare size and time of every file; with paths as strings it takes 0.8 s for 240,000 files."""
    root, names = str(manifest.root), os.fsdecode(manifest.path_bytes.tobytes())
    whole = len(names) == len(manifest.path_bytes)  # ASCII: one character per byte
    start = 0
    columns = (manifest.rows[name].tolist() for name in ("path_end", "file_size", "mtime_ns"))
    for number, (end, size, mtime_ns) in enumerate(zip(*columns, strict=True)):
        name = names[start:end] if whole else manifest.path(number)
        try:
            status = os.stat(f"{root}/{name}")  # noqa: PTH116
        except OSError:
            return False
        if status.st_size != size or status.st_mtime_ns != mtime_ns:
            return False
        start = end
    return all(part.exists() for part in manifest.parts)


def _forget_old(folder: Path) -> None:
    oldest = time.time() - _KEEP_DAYS * 86400
    for kept in folder.iterdir():
        if kept.stat().st_mtime < oldest:
            shutil.rmtree(kept, ignore_errors=True)
