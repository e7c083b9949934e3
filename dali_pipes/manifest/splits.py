"""Assign listed videos to splits: the config's lists, with parts held out in whole groups."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dali_pipes.annotations.lists import LabeledVideo
from dali_pipes.manifest.copies import find_copies
from dali_pipes.manifest.pattern_split import check_matches, split_by_pattern
from dali_pipes.manifest.shared_groups import GroupTable, choose_groups
from dali_pipes.manifest.split_lists import SplitLists, join_groups, read_lists, report_copies
from dali_pipes.sampling.counter_rng import uniform

if TYPE_CHECKING:
    from dali_pipes.config import DataConfig


def videos_of_splits(
    config: DataConfig, seed: int, splits: Sequence[str], on_message: Callable[[str], None], *, compare: bool = True
) -> tuple[tuple[str, ...], dict[str, list[LabeledVideo]]]:
    """Class names, and the videos of "train", "val" and, if requested or held out, "test".

    Args:
        compare: look for videos that are listed twice, in the files themselves; see Note [A video in two lists].

    Raises:
        ValueError: an unknown split, "test" without a test list, an invalid list, or a video in two lists.
    """
    lists = read_lists(config, splits, on_message, compare=compare)
    copies = find_copies(config, lists.paths, {}) if compare else []
    report_copies(config, lists, copies, on_message)
    return lists.class_names, assign(config, lists, seed, copies, on_message)


def assign(
    config: DataConfig,
    lists: SplitLists,
    seed: int,
    copies: Sequence[tuple[str, ...]],
    on_message: Callable[[str], None],
) -> dict[str, list[LabeledVideo]]:
    """Assign the videos of the lists to "train", "val" and, if there is one, "test".

    Args:
        seed: of the run; ``data.split_seed`` takes its place.
        copies: sets of paths with equal content, which stay on one side.

    Raises:
        ValueError: as split_by_group, check_matches and split_by_pattern.
    """
    seed = config.seed_of_split(seed)
    if config.val_pattern is not None:
        check_matches([video.path for video in lists.train], config.val_pattern)
    said: list[str] = []
    try:
        videos = _assign(config, lists, join_groups(lists.train, copies) if copies else lists.train, seed, said.append)
    except ValueError as error:
        if not copies:
            raise
        if not config.allow_shared_videos:
            raise ValueError(
                f"{error} Videos of equal content are one group; set data.allow_shared_videos=true to split them."
            ) from error
        asked = config.val_pattern is not None
        why = "data.val_pattern puts them there" if asked else "nothing could be held out otherwise"
        said = [f"copies of one video are on both sides of a split, as {why}"]
        videos = _assign(config, lists, lists.train, seed, said.append)
    for message in said:
        on_message(message)
    return videos


def _assign(
    config: DataConfig,
    lists: SplitLists,
    rest: list[LabeledVideo],
    seed: int,
    on_message: Callable[[str], None],
) -> dict[str, list[LabeledVideo]]:
    videos: dict[str, list[LabeledVideo]] = {}
    hold_out = partial(split_by_group, class_names=lists.class_names, on_message=on_message)
    if config.val_pattern is not None:
        rest, val = split_by_pattern(rest, config.val_pattern, class_names=lists.class_names, on_message=on_message)
    if config.test_fraction:
        rest, videos["test"] = hold_out(rest, config.test_fraction, seed=seed, name="test")
    elif lists.test:
        videos["test"] = lists.test
    # The seed differs from the test split's: the same hash order would hold out the next groups of that order.
    videos["train"], videos["val"] = hold_out(rest, config.val_fraction, seed=seed + 1)
    if config.val_pattern is not None:
        videos["val"] = val
    return videos


def split_by_group(
    videos: Sequence[LabeledVideo],
    fraction: float,
    *,
    seed: int,
    name: str = "val",
    class_names: Sequence[str] = (),
    on_message: Callable[[str], None] = lambda message: None,
) -> tuple[list[LabeledVideo], list[LabeledVideo]]:
    """Split into (kept, held out): about ``fraction`` of each class's videos are held out, in whole groups.

    A group is a name; its videos stay together, whatever their classes. The choice depends only on the seed and the
    groups' names and sizes. A class of which nothing is held out is reported through ``on_message``, and so is how near
    the result is to ``fraction``. A video of several labels counts for its first.

    Args:
        name: the held-out split, for messages.

    Raises:
        ValueError: nothing can be held out without taking the last group of a class.
    """
    if fraction <= 0:
        return list(videos), []
    sizes: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for video in videos:
        sizes[video.label][video.group] += 1
    held_out = _hold_out(sizes, fraction, seed)
    if not held_out:
        raise ValueError(
            f"expected a class with two groups or more to hold out {fraction:.0%} of the videos, found one group in "
            "each; check data.group_pattern, give a separate list, or set the fraction to 0."
        )
    parts: tuple[list[LabeledVideo], list[LabeledVideo]] = ([], [])
    for video in videos:
        parts[video.group in held_out].append(video)
    for line in _describe(sizes, held_out, fraction, name, class_names):
        on_message(line)
    return parts


def _hold_out(sizes: Mapping[int, Mapping[str, int]], fraction: float, seed: int) -> set[str]:
    """Names of the groups to hold out. ``sizes``: class -> group -> number of videos."""
    orders = {label: _hash_order(sorted(groups), seed, label) for label, groups in sizes.items()}
    all_names: set[str] = set().union(*sizes.values())
    if len(all_names) == sum(map(len, sizes.values())):
        return {name for label, order in orders.items() for name in _hold_out_of_one(order, sizes[label], fraction)}
    names = sorted(all_names)
    number_of = {name: number for number, name in enumerate(names)}
    of_group: list[dict[int, int]] = [{} for _ in names]
    for label, groups in sorted(sizes.items()):
        for name, count in groups.items():
            of_group[number_of[name]][label] = count
    numbers = {label: [number_of[name] for name in order] for label, order in orders.items()}
    chosen = choose_groups(GroupTable.of(of_group, max(sizes) + 1), numbers, fraction)
    return {names[number] for number in np.flatnonzero(chosen)}


def _hold_out_of_one(order: Sequence[str], sizes: Mapping[str, int], fraction: float) -> list[str]:
    """Take a class's own groups in order until the next would miss the target by more; at least one, never all."""
    target = fraction * sum(sizes.values())
    chosen: list[str] = []
    count = 0
    for name in order[:-1]:
        if chosen and abs(count + sizes[name] - target) >= abs(count - target):
            break
        chosen.append(name)
        count += sizes[name]
    return chosen


def _hash_order(names: list[str], seed: int, label: int) -> list[str]:
    order = np.argsort(uniform(seed, label, np.array([_name_hash(name) for name in names], np.uint64)), kind="stable")
    return [names[index] for index in order]


def _name_hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8], "little")


def _describe(
    sizes: Mapping[int, Mapping[str, int]],
    held_out: Set[str],
    fraction: float,
    name: str,
    class_names: Sequence[str],
) -> Iterator[str]:
    """Say of which classes nothing is held out, and how near the shares are to ``fraction``."""
    totals = {label: sum(groups.values()) for label, groups in sizes.items()}
    held = {label: sum(groups[group] for group in groups.keys() & held_out) for label, groups in sizes.items()}

    def names(labels: Iterable[int]) -> str:
        return ", ".join(sorted(class_names[label] if class_names else str(label) for label in labels))

    single = [label for label, groups in sizes.items() if len(groups) == 1]
    bound = [label for label, groups in sizes.items() if len(groups) > 1 and not held[label]]
    if single:
        yield f"nothing is held out of classes with only one group: {names(single)}"
    if bound:
        yield f"nothing is held out of classes whose groups hold the last videos of other classes: {names(bound)}"
    count, total = sum(held.values()), sum(totals.values())
    text = f"{name}: {count} of {total} videos ({100 * count / total:.3g} %, wanted {100 * fraction:.3g} %)"
    text += f" in {len(held_out)} group{'s' * (len(held_out) != 1)}"
    furthest = max(sorted(totals), key=lambda label: abs(held[label] / totals[label] - fraction))
    yield f"{text}; furthest class: {names([furthest])} {100 * held[furthest] / totals[furthest]:.3g} %"
