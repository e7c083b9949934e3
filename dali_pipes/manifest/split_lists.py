"""Read the lists of a config's splits, and find the videos that they share.

Note [A video in two lists]
A video that is listed twice would be tested by what it was trained on, or count twice. Within the training list, videos
of equal content (links, copies) are one group, so they stay on one side of a split. Between training and test list they
are refused, unless ``data.allow_shared_videos`` is set. So the test list is read as text at training too, and its
files are compared with the training list's; none of them is decoded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dali_pipes.annotations.lists import (
    LabeledVideo,
    ListedVideo,
    ParsedList,
    check_folder_numbers,
    class_names_of,
    describe_labels,
    label_videos,
    plain_path,
    read_class_names,
)
from dali_pipes.file_names import first_few, matched_group
from dali_pipes.manifest.sources import listed_videos
from dali_pipes.storage_spec import is_shard_pattern

if TYPE_CHECKING:
    from dali_pipes.config import DataConfig

_NUM_NAMED = 3


@dataclass(frozen=True)
class SplitLists:
    """The lists of a config.

    Args:
        class_names: in the order of the labels.
        train: videos of the training list, from which others may be held out.
        test: videos of the test list, labeled if the split "test" was requested; empty if it was not read.
        test_listed: the same as listed.
    """

    class_names: tuple[str, ...]
    train: list[LabeledVideo]
    test: list[LabeledVideo]
    test_listed: list[ListedVideo]

    @property
    def paths(self) -> list[str]:
        """All listed paths, each once."""
        return list(dict.fromkeys([*(v.path for v in self.train), *(v.path for v in self.test_listed)]))


def read_lists(
    config: DataConfig, splits: Sequence[str], on_message: Callable[[str], None], *, compare: bool = True
) -> SplitLists:
    """Read the training list and, if "test" is requested, the test list.

    Args:
        compare: read the test list in any case if there is one, and compare its paths with the training list's.

    Raises:
        ValueError: an unknown split, "test" without a test list, an invalid list, or a path in both lists.
    """
    unknown = set(splits) - {"train", "val", "test"}
    if unknown:
        raise ValueError(f'splits: expected "train", "val" or "test", found {sorted(unknown)}.')
    if "test" in splits and config.test is None and not config.test_fraction:
        raise ValueError("data.test: expected a test list or data.test_fraction above 0, found neither.")
    parsed = listed_videos(config, config.train, on_message)
    class_names = _class_names(config, parsed)
    for sentence in describe_labels(
        parsed, class_names, has_class_file=config.classes is not None, source=str(config.train)
    ):
        on_message(sentence)
    by_number = config.classes is not None
    train = label_videos(
        parsed.videos,
        class_names,
        group_pattern=config.group_pattern,
        source=str(config.train),
        by_number=by_number,
    )
    test: list[LabeledVideo] = []
    test_listed: list[ListedVideo] = []
    if config.test is not None and ("test" in splits or (compare and _is_text(config))):
        test_parsed = listed_videos(config, config.test, on_message, parsed.reading)
        test_listed = _with_groups(test_parsed.videos, config.group_pattern)
        if "test" in splits:
            _check_numbers(config, test_parsed, class_names, str(config.test))
            test = label_videos(
                test_listed, class_names, group_pattern=None, source=str(config.test), by_number=by_number
            )
    lists = SplitLists(class_names, train, test, test_listed)
    if compare:
        report_shared(config, _same_paths(lists), on_message)
        report_shared_groups(lists, on_message)
    return lists


def _with_groups(videos: Sequence[ListedVideo], group_pattern: str | None) -> list[ListedVideo]:
    """The videos of a test list with the groups of the pattern where it matches: other names may stand there."""
    if group_pattern is None:
        return list(videos)
    return [replace(video, group=matched_group(group_pattern, video.path) or video.group) for video in videos]


def _class_names(config: DataConfig, parsed: ParsedList) -> tuple[str, ...]:
    """The class file's names, with which the numbers of UCF101's list must agree, or the labels'."""
    if config.classes is None:
        return class_names_of(parsed.videos, lambda number: f"{config.train}{parsed.place(number)}")
    class_names = read_class_names(config.root / config.classes)
    _check_numbers(config, parsed, class_names, str(config.train))
    return class_names


def _check_numbers(config: DataConfig, parsed: ParsedList, class_names: Sequence[str], source: str) -> None:
    if config.classes is not None and config.list_format == "auto":
        check_folder_numbers(parsed, class_names, source)


def _is_text(config: DataConfig) -> bool:
    """Whether the test list can be read as text: it exists, and it is no name of shards."""
    assert config.test is not None
    return not is_shard_pattern(config.test) and (config.root / config.test).is_file()


def _same_paths(lists: SplitLists) -> list[tuple[str, ...]]:
    """Pairs of a path of the training list and one of the test list that name one file."""
    if not lists.test_listed:
        return []
    known = {plain_path(video.path): video.path for video in lists.train}
    found = ((known.get(plain_path(video.path)), video.path) for video in lists.test_listed)
    return [(train, test) for train, test in found if train is not None]


def report_shared(config: DataConfig, pairs: Sequence[tuple[str, ...]], on_message: Callable[[str], None]) -> None:
    """Refuse videos of the test list that are in the training list too, or report them if the setting allows them.

    Args:
        pairs: (path in the training list, path in the test list).

    Raises:
        ValueError: there are such videos, and ``data.allow_shared_videos`` is not set.
    """
    if not pairs:
        return
    count = f"{len(pairs)} video{'s' * (len(pairs) > 1)}"
    text = f"{config.test}: {count} of the test list are also in the training list: {_name(config, pairs)}"
    if not config.allow_shared_videos:
        raise ValueError(
            f"{text}; take them out of one of the lists, or set data.allow_shared_videos=true to use them in both."
        )
    on_message(f"{text}; results on the test list are too good by these")


def report_copies(
    config: DataConfig, lists: SplitLists, copies: Sequence[tuple[str, ...]], on_message: Callable[[str], None]
) -> None:
    """Report videos of equal content within each list, and refuse such of training and test list.

    Args:
        copies: as ``find_copies`` gives them, of ``lists.paths``.

    Raises:
        ValueError: as ``report_shared``.
    """
    if not copies:
        return
    labels = {video.path: frozenset(video.labels) for video in lists.train}
    tested = {video.path: frozenset(video.labels) for video in lists.test_listed}
    for name, members in (("train", labels), ("test", tested)):
        within = [found for one in copies if len(found := tuple(path for path in one if path in members)) > 1]
        _report_within(config, name, within, members, on_message)
    shared = []
    for one in copies:
        train = next((path for path in one if path in labels), None)
        shared += [(train, path) for path in one if train and path in tested and path not in labels]
    report_shared(config, shared, on_message)


def _report_within(
    config: DataConfig,
    name: str,
    within: Sequence[tuple[str, ...]],
    labels: Mapping[str, frozenset[object]],
    on_message: Callable[[str], None],
) -> None:
    """Report copies in one list; those with different labels apart, since one of the labels must be wrong."""
    differing = [copies for copies in within if len({labels[path] for path in copies}) > 1]
    if within:
        count = sum(len(copies) - 1 for copies in within)
        kept = "; they stay on one side of a split" if name == "train" else ""
        on_message(f"data.{name}: {count} videos are copies of others: {_name(config, within)}{kept}")
    if differing:
        on_message(
            f"data.{name}: {len(differing)} of these are listed with DIFFERENT LABELS, so one label of each is wrong: "
            f"{_name(config, differing)}"
        )


def _name(config: DataConfig, sets: Sequence[tuple[str, ...]]) -> str:
    """Name the first few sets, and why they are one video."""
    named = []
    for copies in sets[:_NUM_NAMED]:
        first, second = copies[:2]
        if plain_path(first) == plain_path(second):
            named.append(f"{first} and {second} are one path" if first != second else f"{first} is in both")
            continue
        paths = [os.path.join(config.root, path) for path in (first, second)]  # noqa: PTH118
        linked = all(map(os.path.exists, paths)) and os.path.samefile(*paths)  # noqa: PTH121
        named.append(f"{first} and {second} {'are one file' if linked else 'have the same content'}")
    more = len(sets) - len(named)
    return "; ".join(named) + (f"; and {more} more" if more else "")


def join_groups(videos: Sequence[LabeledVideo], copies: Sequence[tuple[str, ...]]) -> list[LabeledVideo]:
    """Put videos of equal content into one group, together with the groups that they are in."""
    group_of = {video.path: video.group for video in videos} if copies else {}
    leader: dict[str, str] = {}

    def find(group: str) -> str:
        while group in leader:
            group = leader[group]
        return group

    for one in copies:
        groups = sorted({find(group_of[path]) for path in one if path in group_of})
        leader |= dict.fromkeys(groups[1:], groups[0]) if groups else {}
    return [replace(video, group=find(video.group)) if video.group in leader else video for video in videos]


def report_shared_groups(lists: SplitLists, on_message: Callable[[str], None]) -> None:
    """Report groups, from the pattern or the lists' column, that have videos in training and test list."""
    tested = {video.group for video in lists.test_listed if video.group}
    both = sorted(tested.intersection(video.group for video in lists.train if video.group != video.path))
    if both:
        on_message(f"{len(both)} groups have videos in both data.train and data.test: {first_few(both)}")
