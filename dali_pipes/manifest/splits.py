"""Assign listed videos to splits: the config's lists, with parts held out in whole groups."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dali_pipes.annotations.lists import LabeledVideo, class_names_of, label_videos, read_class_names
from dali_pipes.manifest.sources import listed_videos
from dali_pipes.sampling.counter_rng import uniform

if TYPE_CHECKING:
    from dali_pipes.config import DataConfig


def videos_of_splits(
    config: DataConfig, seed: int, splits: Sequence[str], on_message: Callable[[str], None]
) -> tuple[tuple[str, ...], dict[str, list[LabeledVideo]]]:
    """Class names, and the videos of "train", "val" and, if requested or held out, "test".

    Raises:
        ValueError: an unknown split, "test" without a test list, or an invalid list.
    """
    unknown = set(splits) - {"train", "val", "test"}
    if unknown:
        raise ValueError(f'splits: expected "train", "val" or "test", found {sorted(unknown)}.')
    listed = listed_videos(config, config.train, on_message)
    class_names = read_class_names(config.root / config.classes) if config.classes else class_names_of(listed)
    rest = label_videos(listed, class_names, group_pattern=config.group_pattern, source=str(config.train))
    videos: dict[str, list[LabeledVideo]] = {}
    hold_out = partial(split_by_group, class_names=class_names, on_message=on_message)
    if config.test_fraction:
        rest, videos["test"] = hold_out(rest, config.test_fraction, seed=seed)
    elif "test" in splits:
        if config.test is None:
            raise ValueError("data.test: expected a test list or data.test_fraction above 0, found neither.")
        test = listed_videos(config, config.test, on_message)
        videos["test"] = label_videos(test, class_names, group_pattern=None, source=str(config.test))
    # The seed differs from the test split's: the same hash order would hold out the next groups of that order.
    videos["train"], videos["val"] = hold_out(rest, config.val_fraction, seed=seed + 1)
    return class_names, videos


def split_by_group(
    videos: Sequence[LabeledVideo],
    fraction: float,
    *,
    seed: int,
    class_names: Sequence[str] = (),
    on_message: Callable[[str], None] = lambda message: None,
) -> tuple[list[LabeledVideo], list[LabeledVideo]]:
    """Split into (kept, held out): about ``fraction`` of each class's videos are held out, in whole groups.

    A group is a pair (class, group). The choice depends only on the seed and the groups' names and sizes. A class with
    a single group keeps it, and is reported through ``on_message``.

    Raises:
        ValueError: every class has a single group, so nothing can be held out.
    """
    if fraction <= 0:
        return list(videos), []
    sizes: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for video in videos:
        sizes[video.label][video.group] += 1
    held_out = {(label, group) for label, groups in sizes.items() for group in _hold_out(groups, fraction, seed, label)}
    single = [class_names[label] if class_names else str(label) for label, groups in sizes.items() if len(groups) == 1]
    if not held_out:
        raise ValueError(
            f"expected a class with two groups or more to hold out {fraction:.0%} of the videos, found one group in "
            "each; check data.group_pattern, give a separate list, or set the fraction to 0."
        )
    if single:
        on_message(f"nothing is held out of classes with only one group: {', '.join(sorted(single))}")
    parts: tuple[list[LabeledVideo], list[LabeledVideo]] = ([], [])
    for video in videos:
        parts[(video.label, video.group) in held_out].append(video)
    return parts


def _hold_out(sizes: dict[str, int], fraction: float, seed: int, label: int) -> list[str]:
    """Take groups in hash order until the next would miss the target by more; at least one, never all."""
    target = fraction * sum(sizes.values())
    names = sorted(sizes)
    order = np.argsort(uniform(seed, label, np.array([_name_hash(name) for name in names], np.uint64)), kind="stable")
    chosen: list[str] = []
    count = 0
    for name in (names[index] for index in order[:-1]):
        if chosen and abs(count + sizes[name] - target) >= abs(count - target):
            break
        chosen.append(name)
        count += sizes[name]
    return chosen


def _name_hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8], "little")
