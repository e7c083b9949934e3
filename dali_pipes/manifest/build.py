"""Build the manifests of a config's splits from its lists; cache.py keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dali_pipes.annotations.file_walk import count_of, named
from dali_pipes.annotations.lists import LabeledVideo
from dali_pipes.atomic_files import atomic_write_bytes
from dali_pipes.file_names import on_one_line
from dali_pipes.jobs.cores import usable_cores
from dali_pipes.jobs.map_files import make_engine
from dali_pipes.jobs.progress import progress_messages
from dali_pipes.manifest.cache import Said, cache_key, hash_lists, keep_manifests, load_manifests, table_key, table_path
from dali_pipes.manifest.copies import find_copies
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.manifest.named_damage import NamedDamage
from dali_pipes.manifest.sources import cost_of, locations_of, scan_command, storage_of, store_of
from dali_pipes.manifest.split_lists import SplitLists, read_lists, report_copies
from dali_pipes.manifest.split_table import split_table
from dali_pipes.manifest.splits import assign
from dali_pipes.scan.scan import MissingVideosError, missing_videos, scan
from dali_pipes.scan.summary import describe_damage
from dali_pipes.video_info import VideoInfo

if TYPE_CHECKING:
    from dali_pipes.config import DataConfig

# A largest class of more than this many times the smallest one's videos is reported.
_IMBALANCE_TO_NAME = 1.5


def build_manifests(
    config: DataConfig,
    *,
    seed: int,
    splits: Sequence[str] = ("train", "val"),
    on_message: Callable[[str], None] | None = None,
    on_damage: Callable[[str], None] | None = None,
    num_workers: int | None = None,
) -> dict[str, Manifest]:
    """Build the manifests of the requested splits ("train", "val", "test"). Files not in the scan cache are decoded.

    Videos of the test list are decoded only if "test" is requested; see Note [A video in two lists]. ``val`` is held
    out of the training list by group, so is ``test`` if ``test_fraction`` is above 0. Without any, there is no "val".

    Args:
        seed: seed of the split into groups, unless ``data.split_seed`` is set.
        on_message: called with one sentence for a scan that begins, class imbalance and costly reading.
        on_damage: called with one sentence for each damaged file that no earlier call has named, and for the number of
            damaged files; default: on_message. Without either no file counts as named.
        num_workers: number of scan processes; None: one a core.

    Raises:
        ValueError: an invalid list, label or group, listed videos that are missing, a video in training and test
            list, or "test" is requested and the config has no test list.
    """
    on_damage = on_damage or on_message
    store = store_of(config)
    names_damage = NamedDamage(store) if on_damage else None
    on_message, on_damage = on_message or _unheard, on_damage or _unheard
    hashes, said = hash_lists(config), Said([], [])
    key = cache_key(config, hashes, seed=seed, splits=splits, store=store)
    if key and (kept := load_manifests(store, key, on_message, on_damage)) is not None:
        return kept
    report, report_damage = _recording(said.messages, on_message), _recording(said.damage, on_damage)

    lists, video_info = read_lists(config, splits, report), dict[str, VideoInfo]()

    def scan_now(videos: Mapping[str, Sequence[LabeledVideo]]) -> dict[str, VideoInfo]:
        new = {name: [one for one in videos.get(name, ()) if one.path not in video_info] for name in splits}
        if any(new.values()):
            with _missing_named(config, lists, splits):
                video_info.update(_look_into(config, new, store, on_message=on_message, num_workers=num_workers))
        return video_info

    videos, manifests = _assign_and_scan(config, lists, seed, scan_now, report), dict[str, Manifest]()
    for name in splits:
        if found := videos.get(name):
            known = lists.class_names, found, video_info, storage_of(config)
            manifests[name] = Manifest.from_video_info(config.root, *known)
            if sentence := _name_new_damage(name, found, video_info, names_damage, on_damage):
                report_damage(f"{sentence}; to list them: {scan_command(config)}")
            _name_imbalance(name, manifests[name], report)
    for line in cost_of(config, video_info):
        report(line)
    key = cache_key(config, hashes, seed=seed, splits=splits, store=store)  # the scan may have added to the store
    if key and hash_lists(config) == hashes:  # not if a list was edited meanwhile
        keep_manifests(store, key, manifests, video_info, said, split_table(lists, videos))
    else:
        _keep_split_table(table_path(store, table_key(config, seed=seed, splits=splits)), split_table(lists, videos))
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
    num_workers: int | None,
) -> dict[str, VideoInfo]:
    """Find the video info of all splits by a scan or from its store."""
    say_progress = progress_messages(on_message, "scanning files", "files")
    how = "each is decoded once" if config.scan == "decode" else "their packets are counted"

    def on_progress(done: int, total: int, num_bytes: int) -> None:
        if done:
            say_progress(done, total)
        else:
            on_message(f"scanning {count_of(total, 'new file')}: {how}, and what is found is kept in {store}")

    return scan(
        locations_of(config, [video.path for found in videos.values() for video in found]),
        root=config.root,
        store=store,
        engine=make_engine("local", num_workers=num_workers or usable_cores()),
        decode=config.scan == "decode",
        on_progress=on_progress,
    )


def _unheard(message: str) -> None:
    pass


def _name_new_damage(
    split: str,
    videos: Sequence[LabeledVideo],
    video_info: Mapping[str, VideoInfo],
    named: NamedDamage | None,
    on_damage: Callable[[str], None],
) -> str:
    """Name each damaged file that no start has named yet; returns a clause on the number of all, "" without any."""
    healths = {video.path: video_info[video.path].health for video in videos}
    for path, health in named.take_new(healths).items() if named else ():
        on_damage(f"{split}: {on_one_line(path)}: {health}")
    damage = describe_damage(healths.values())
    return f"{split}: {damage}" if damage else ""


def _recording(said: list[str], tell: Callable[[str], None]) -> Callable[[str], None]:
    """A function that tells a sentence and adds it to ``said``."""

    def report(message: str) -> None:
        said.append(message)
        tell(message)

    return report


@contextmanager
def _missing_named(config: DataConfig, lists: SplitLists, splits: Sequence[str]) -> Iterator[None]:
    """Replace the scan's MissingVideosError by one that names each list: how many of how many, and the first ones."""
    try:
        yield
    except MissingVideosError as error:
        raise ValueError(_describe_missing(config, lists, splits) or str(error)) from None


def _describe_missing(config: DataConfig, lists: SplitLists, splits: Sequence[str]) -> str:
    """A line for each list of these splits that has missing videos."""
    listed = {str(config.train): [video.path for video in lists.train]}
    if "test" in splits and config.test is not None:
        listed[str(config.test)] = [video.path for video in lists.test_listed]
    faults = []
    for name, paths in listed.items():
        if missing := missing_videos(locations_of(config, paths)):
            where = config.root if name == "folders" else config.root / name
            faults.append(
                f"{where}: expected its {count_of(len(paths), 'video')} under {config.root}, found {len(missing)} of "
                f"them missing: {named(missing)}; check data.root, or take them out of the list."
            )
    return "\n".join(faults)


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


def copy_split_table(config: DataConfig, target: Path, *, seed: int, splits: Sequence[str]) -> None:
    """Write splits.csv of the manifests that were just built, or opened, for these splits.

    Raises:
        OSError: ``target`` cannot be written.
    """
    store = store_of(config)
    of_manifests = cache_key(config, hash_lists(config), seed=seed, splits=splits, store=store)
    keys = of_manifests, table_key(config, seed=seed, splits=splits)
    for kept in (table_path(store, key) for key in keys if key):
        if kept.is_file():
            atomic_write_bytes(target, kept.read_bytes())
            return
    # The store is not writable.
    lists = read_lists(config, splits, lambda message: None)
    copies = find_copies(config, lists.paths, {})
    atomic_write_bytes(target, split_table(lists, assign(config, lists, seed, copies, lambda message: None)))


def _keep_split_table(path: Path, table: bytes) -> None:
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_bytes(path, table)
