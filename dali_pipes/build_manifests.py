"""From the lists that a config names to the manifests of its splits."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dali_pipes.engines import make_engine
from dali_pipes.manifest import Manifest
from dali_pipes.manifest_cache import cache_key, keep_manifests, load_manifests
from dali_pipes.places import places_of, storage_of, store_of
from dali_pipes.progress import describe_progress
from dali_pipes.scan import scan
from dali_pipes.splits import videos_of_splits

if TYPE_CHECKING:
    from dali_pipes.config import DataConfig

# More videos in the largest class than this many times the smallest one's: said aloud.
_IMBALANCE_TO_NAME = 1.5
_SAY_EVERY_S = 20.0


def build_manifests(
    config: DataConfig,
    *,
    seed: int,
    splits: Sequence[str] = ("train", "val"),
    on_message: Callable[[str], None] = lambda message: None,
    num_workers: int = 2,
) -> dict[str, Manifest]:
    """Manifests of the asked splits ("train", "val", "test"). Files not in the scan cache are decoded once.

    The test list is opened only where "test" is asked for. ``val`` is held out of the training list by group, as is
    ``test`` where ``test_fraction`` says so; a split that the config leaves empty (val_fraction 0) is left out of the
    answer when it is "val".

    Args:
        seed: of the split into groups.
        on_message: called with one sentence for each dropped or cut file and for class imbalance.
        num_workers: processes of the scan.

    Raises:
        ValueError: a list, label, group or file that is not as expected, or "test" where the config has no test list.
    """
    store = store_of(config)
    key = cache_key(config, seed=seed, splits=splits, store=store)
    manifests = load_manifests(store, key, on_message) if key else None
    if manifests is not None:
        return manifests
    messages: list[str] = []

    def say(message: str) -> None:
        messages.append(message)
        on_message(message)

    manifests = _build(config, seed=seed, splits=splits, store=store, say=say, tell=on_message, num_workers=num_workers)
    key = cache_key(config, seed=seed, splits=splits, store=store)  # the scan may have added to the store
    if key:
        keep_manifests(store, key, manifests, messages)
    return manifests


def _build(
    config: DataConfig,
    *,
    seed: int,
    splits: Sequence[str],
    store: Path,
    say: Callable[[str], None],
    tell: Callable[[str], None],
    num_workers: int,
) -> dict[str, Manifest]:
    """Args: ``say`` what holds for the manifests, ``tell`` what happens."""
    class_names, videos = videos_of_splits(config, seed, splits, say)
    places = places_of(config, [video.path for name in splits for video in videos.get(name, [])])
    facts = scan(
        list(places),
        root=config.root,
        store=store,
        places=places,
        engine=make_engine("local", num_workers=num_workers),
        decode=config.scan == "decode",
        on_progress=_Progress(tell),
    )
    manifests = {}
    for name in splits:
        if not videos.get(name):
            continue
        manifests[name] = Manifest.from_facts(config.root, class_names, videos[name], facts, storage_of(config))
        for video in videos[name]:
            health = facts[video.path].health
            if health != "ok":
                say(f"{name}: {video.path}: {health}")
        _name_imbalance(name, manifests[name], say)
    return manifests


class _Progress:
    """Says now and then how far the scan is; a short one goes by in silence."""

    def __init__(self, on_message: Callable[[str], None]) -> None:
        self._on_message = on_message
        self._started = self._said = time.monotonic()

    def __call__(self, done: int, total: int, num_bytes: int) -> None:
        now = time.monotonic()
        if now - self._said < _SAY_EVERY_S:
            return
        self._said = now
        self._on_message(f"looking into files: {describe_progress(done, total, 'files', now - self._started)}")


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
