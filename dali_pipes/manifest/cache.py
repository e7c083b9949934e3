"""Keep the manifests of a config's splits between starts.

For 250,000 videos, building manifests takes nine seconds and opening kept ones takes one.

Kept manifests are valid while the lists, the settings that choose among them and the scan's results are the same. Each
file, also one without a usable frame, is checked again for changes, and the kept bytes against the checksums that were
written with them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dali_pipes.atomic_files import atomic_folder
from dali_pipes.manifest.manifest import SCHEMA_VERSION, Manifest
from dali_pipes.manifest.split_table import SPLIT_TABLE
from dali_pipes.regular_files import check_kept_files
from dali_pipes.video_info import Stamp, VideoInfo

if TYPE_CHECKING:
    from dali_pipes.config import DataConfig

# Settings that change the videos in a manifest, or their video info.
_SETTINGS = (
    *("train", "test", "classes", "list_format", "group_pattern", "val_fraction", "val_pattern"),
    *("test_fraction", "allow_shared_videos", "scan", "storage"),
)
_KEEP_DAYS = 30
_VERSION = 7  # raised when lists are read or split in another way, or manifests are kept in another way
_ABOUT = "about.json"  # after a line with its checksum


class Said(NamedTuple):
    """What was said while manifests were built; each later start says it again."""

    messages: list[str]
    damage: list[str]


def cache_key(config: DataConfig, lists: Sequence[str], *, seed: int, splits: Sequence[str], store: Path) -> str | None:
    """Hash everything that determines the manifests; None if that is more than lists and scans.

    Args:
        lists: of ``hash_lists``.
        seed: of the run; it counts unless ``data.split_seed`` is set.
        store: folder of the scan's results.
    """
    if config.train == "folders" or config.storage.kind != "videos":
        return None
    settings = config.model_dump(mode="json", include=set(_SETTINGS))
    scans = sorted((part.name, part.stat().st_size) for part in store.glob("*.csv"))
    known = [_VERSION, SCHEMA_VERSION, str(config.root.resolve()), settings]
    known += [config.seed_of_split(seed), list(splits), list(lists), scans]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:24]


def hash_lists(config: DataConfig) -> list[str]:
    """A hash of each list's contents; empty for one that is no file."""
    lists = [config.root / path for path in (config.train, config.test, config.classes) if path]
    return [hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for path in lists]


def table_key(config: DataConfig, *, seed: int, splits: Sequence[str]) -> str:
    """The key of a table of splits where manifests are not kept; each such start writes it anew."""
    known: list[Any] = [str(config.root.resolve()), config.model_dump(mode="json", include=set(_SETTINGS))]
    known += [config.seed_of_split(seed), list(splits)]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:24]


def table_path(store: Path, key: str) -> Path:
    """The table of splits kept under a key."""
    return _folder(store, key) / SPLIT_TABLE


def load_manifests(
    store: Path, key: str, on_message: Callable[[str], None], on_damage: Callable[[str], None]
) -> dict[str, Manifest] | None:
    """Load the manifests kept under a key, if all their files are unchanged, and repeat what was said about them.

    Damaged ones are removed, with a message; then, as without kept ones, the result is None.
    """
    folder = _folder(store, key)
    if not folder.is_dir():
        return None
    try:
        manifests, about = _open(folder)
    # Whatever was left of a file may raise anything.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        on_message(f"{folder}: the kept manifests are damaged and are made again ({reason[:200]})")
        shutil.rmtree(folder, ignore_errors=True)
        return None
    if not all(_is_unchanged(manifest, about["dropped"]) for manifest in manifests.values()):
        return None
    if about["parts"] != _sizes(manifests):
        return None
    for message in about["messages"]:
        on_message(message)
    for message in about["damage"]:
        on_damage(message)
    with suppress(OSError):  # of another user
        os.utime(folder)
    return manifests


def _open(folder: Path) -> tuple[dict[str, Manifest], dict[str, Any]]:
    """The manifests, and what _ABOUT holds."""
    check_kept_files(folder)
    text = (folder / _ABOUT).read_text(encoding="utf-8")
    checksum, _, text = text.partition("\n")
    if checksum != str(zlib.crc32(text.encode())):
        raise ValueError(f"{_ABOUT}: expected the checksum {checksum[:20]}, found another one.")
    about = json.loads(text)
    if zlib.crc32((folder / SPLIT_TABLE).read_bytes()) != about["table"]:
        raise ValueError(f"{SPLIT_TABLE}: expected the table as it was written, found another one.")
    return {name: Manifest.open(folder / name, verify=True) for name in about["splits"]}, about


def _sizes(manifests: Mapping[str, Manifest]) -> dict[str, int]:
    """Size of each packet index file; -1 for one that is gone."""
    parts = {part for manifest in manifests.values() for part in manifest.parts}
    return {os.path.realpath(part): part.stat().st_size if part.exists() else -1 for part in sorted(parts)}


def keep_manifests(
    store: Path,
    key: str,
    manifests: Mapping[str, Manifest],
    video_info: Mapping[str, VideoInfo],
    said: Said,
    table: bytes,
) -> None:
    """Keep manifests, what was said about them and the table of splits; nothing if the store is not writable.

    Args:
        video_info: what the scan found, by path.
    """
    folder = _folder(store, key)
    # If the store is not writable, the next start builds the manifests again.
    with suppress(OSError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with atomic_folder(folder, replace=True) as new:
            for name, manifest in manifests.items():
                manifest.save(new / name)
            (new / SPLIT_TABLE).write_bytes(table)
            text = json.dumps(
                {
                    "splits": list(manifests),
                    "parts": _sizes(manifests),
                    "dropped": _stamps_of_dropped(manifests, video_info),
                    "messages": said.messages,
                    "damage": said.damage,
                    "table": zlib.crc32(table),
                }
            )
            (new / _ABOUT).write_text(f"{zlib.crc32(text.encode())}\n{text}", encoding="utf-8")
        _forget_old(folder.parent)


def _stamps_of_dropped(manifests: Mapping[str, Manifest], video_info: Mapping[str, VideoInfo]) -> dict[str, Stamp]:
    """Size and time of the files that are in no row, as the scan found them."""
    found = {path: video_info[path] for manifest in manifests.values() for path, _ in manifest.dropped}
    return {path: Stamp(one.file_size, one.mtime_ns) for path, one in found.items()}


def _folder(store: Path, key: str) -> Path:
    return store / "manifests" / key


def _is_unchanged(manifest: Manifest, dropped: Mapping[str, Sequence[int]]) -> bool:
    """Compare size and time of every file; with paths as strings it takes 0.8 s for 240,000 files.

    Args:
        dropped: size and time of the files that are in no row.
    """
    root, names = str(manifest.root), os.fsdecode(manifest.path_bytes.tobytes())
    whole = len(names) == len(manifest.path_bytes)  # ASCII: one character per byte
    start = 0
    columns = (manifest.rows[name].tolist() for name in ("path_end", "file_size", "mtime_ns"))
    for number, (end, size, mtime_ns) in enumerate(zip(*columns, strict=True)):
        name = names[start:end] if whole else manifest.path(number)
        if not _has_stamp(f"{root}/{name}", size, mtime_ns):
            return False
        start = end
    return all(_has_stamp(f"{root}/{path}", *dropped[path]) for path, _ in manifest.dropped)


def _has_stamp(file: str, size: int, mtime_ns: int) -> bool:
    try:
        status = os.stat(file)  # noqa: PTH116
    except OSError:
        return False
    return status.st_size == size and status.st_mtime_ns == mtime_ns


def _forget_old(folder: Path) -> None:
    oldest = time.time() - _KEEP_DAYS * 86400
    for kept in folder.iterdir():
        if kept.stat().st_mtime < oldest:
            shutil.rmtree(kept, ignore_errors=True)
