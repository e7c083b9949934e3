"""Groups of scored videos: videos of one scene or person are not independent of each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dali_pipes.file_names import matched_group
from dali_pipes.manifest.split_table import groups_of_videos


def groups_of(videos: Sequence[str], splits: Path, group_pattern: str | None) -> tuple[str, ...]:
    """The group of each video, as the run that trained the weights split its lists; its own name if it stands alone.

    Tables of earlier versions have no groups of the videos of a test list: the pattern finds them.

    Args:
        splits: splits.csv of that run; features have none.
        group_pattern: ``data.group_pattern``.
    """
    known = groups_of_videos(splits.read_bytes()) if splits.is_file() else {}
    found = videos if group_pattern is None else groups_by_pattern(videos, group_pattern)
    return tuple(
        group if known.get(video, video) == video else known[video] for video, group in zip(videos, found, strict=True)
    )


def groups_by_pattern(videos: Sequence[str], group_pattern: str) -> tuple[str, ...]:
    """The group that the pattern finds in each video's name; the name itself where it finds none."""
    return tuple(matched_group(group_pattern, video) or video for video in videos)
