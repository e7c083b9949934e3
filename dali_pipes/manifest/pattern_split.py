"""Split a list by a regular expression on the paths: ``data.val_pattern``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from dali_pipes.annotations.lists import LabeledVideo
from dali_pipes.file_names import on_one_line


def check_matches(paths: Sequence[str], pattern: str) -> None:
    """Refuse a pattern that leaves one side without a video.

    Raises:
        ValueError: no path matches, or every one.
    """
    num_matching = sum(re.search(pattern, path) is not None for path in paths)
    if num_matching in (0, len(paths)):
        found = "all" if num_matching else "none"
        raise ValueError(
            f"data.val_pattern: expected {on_one_line(pattern)} in the paths of some of the {len(paths)} videos of the "
            f"training list, found it in {found}, such as {on_one_line(paths[0])}; change it, or use data.val_fraction."
        )


def split_by_pattern(
    videos: Sequence[LabeledVideo],
    pattern: str,
    *,
    class_names: Sequence[str],
    on_message: Callable[[str], None],
) -> tuple[list[LabeledVideo], list[LabeledVideo]]:
    """Split into (others, those in whose path the pattern is found).

    The share of the videos that match is reported through ``on_message``, with the classes whose shares are lowest and
    highest; so is each class of which no video, or no other video, matches. A video of several labels counts for its
    first.

    Args:
        class_names: in the order of the labels.

    Raises:
        ValueError: a group has videos on both sides.
    """
    parts: tuple[list[LabeledVideo], list[LabeledVideo]] = ([], [])
    for video in videos:
        parts[re.search(pattern, video.path) is not None].append(video)
    _check_groups(*parts)
    others, matching = (Counter(video.label for video in part) for part in parts)

    def names(labels: Iterable[int]) -> str:
        return ", ".join(sorted(class_names[label] for label in labels))

    if unmatched := others.keys() - matching.keys():
        on_message(f"data.val_pattern matches no video of these classes: {names(unmatched)}")
    if untrained := matching.keys() - others.keys():
        on_message(f"data.val_pattern leaves no video to train on of these classes: {names(untrained)}")
    shares = {label: matching[label] / (matching[label] + others[label]) for label in sorted(others | matching)}
    least, most = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
    num_groups = len({video.group for video in parts[1]})
    share = f"{100 * len(parts[1]) / len(videos):.3g} %, by data.val_pattern"
    on_message(
        f"val: {len(parts[1])} of {len(videos)} videos ({share}) "
        f"in {num_groups} group{'s' * (num_groups != 1)}; from {100 * shares[least]:.3g} % ({names([least])}) "
        f"to {100 * shares[most]:.3g} % ({names([most])}) of a class"
    )
    return parts


def _check_groups(others: Sequence[LabeledVideo], matching: Sequence[LabeledVideo]) -> None:
    validated = {video.group: video.path for video in reversed(matching)}
    trained = {video.group: video.path for video in reversed(others)}
    both = [group for group in validated if group in trained]
    if both:
        first = min(both)
        more = f" (and {len(both) - 1} more groups)" if len(both) > 1 else ""
        raise ValueError(
            f"data.val_pattern: expected every group on one side of the split, found group {first!r} on both{more}: "
            f"{on_one_line(validated[first])} matches, {on_one_line(trained[first])} does not; change it or the groups."
        )
