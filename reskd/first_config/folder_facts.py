"""What a folder of videos holds, from its list and a look at a few files."""

from __future__ import annotations

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from dali_pipes.annotations.lists import ListedVideo, parse_list
from dali_pipes.jobs.process_folder import process_folder
from dali_pipes.scan.scan import scan
from dali_pipes.video_info import VideoInfo
from reskd.profiling.reading_cost import of_all_sizes

_MOST_OPENED = 24  # at even ranks of file size
# Ends of names that tell the clips of one recording apart, most telling first. Each must be optional in the pattern:
# every file needs a group, also those that are called otherwise.
_ENDS = (
    r"_c\d+",  # UCF101: v_X_g01_c02
    r"[_-](?:part|clip|seg|scene|chunk)[_-]?\d+",
    r"_\d{6}_\d{6}",  # Kinetics: id_start_end
    r"[_-]\d+",
)
_SUFFIX = r"(?:\.\w+)?$"
_FEWEST_GROUPS = 3  # of a class: one each to train, validate and test
_LARGEST_SHARE = 0.2  # of all videos in one group: more of them are a camera's name, as IMG_0001, not a recording's


@dataclass(frozen=True)
class FolderFacts:
    """A folder of videos and its list.

    Args:
        train: the list under ``root``, or "folders".
        videos_of_class: the first label of each video, counted.
        short_side, num_frames: medians of the files that were opened; 0 if none opens.
        num_opened: files that were opened.
        bad: of these, those that cannot be read, each with the reason.
        group_pattern: a guess from the names, which joins clips of one recording; None: no name says so.
        num_groups: of that pattern.
        remarks: sentences about the reading of the list and what is left out.
    """

    root: Path
    train: str
    videos_of_class: Mapping[str, int]
    short_side: int
    num_frames: int
    num_opened: int
    bad: Mapping[str, str]
    group_pattern: str | None
    num_groups: int
    remarks: tuple[str, ...]

    @property
    def num_videos(self) -> int:
        return sum(self.videos_of_class.values())


def look_into(root: Path, train: str = "folders") -> FolderFacts:
    """Read the list and open a few files of all sizes; nothing is written.

    Raises:
        ValueError, OSError: no such folder or list; no video; fewer than two classes.
    """
    parsed = parse_list(root, train)
    classes = Counter(video.labels[0] for video in parsed.videos)
    if len(classes) < 2:
        raise ValueError(
            f"{root}: expected a folder for each of two or more classes, or a list (--list), found "
            f"{len(classes)} ({', '.join(classes)})."
        )
    paths = [video.path for video in parsed.videos]
    infos = _open_some(root, paths)
    good = [info for info in infos.values() if info.usable]
    has_groups = any(video.group for video in parsed.videos)
    pattern, num_groups = (None, 0) if has_groups else _groups(parsed.videos)
    return FolderFacts(
        root,
        train,
        dict(sorted(classes.items())),
        int(statistics.median(min(info.width, info.height) for info in good)) if good else 0,
        int(statistics.median(info.num_frames for info in good)) if good else 0,
        len(infos),
        {path: info.health.removeprefix("bad: ") for path, info in infos.items() if not info.usable},
        pattern,
        num_groups,
        parsed.remarks,
    )


def _open_some(root: Path, paths: Sequence[str]) -> dict[str, VideoInfo]:
    chosen = [str(path) for path in of_all_sizes(root, [Path(path) for path in paths], _MOST_OPENED)]
    with TemporaryDirectory(prefix="init_", dir=process_folder()) as store:
        return scan(chosen, root=root, store=Path(store), decode=False)


def _groups(videos: Sequence[ListedVideo]) -> tuple[str | None, int]:
    """A guess of the pattern that joins the clips of one recording, and the number of its groups.

    The first that half of the names have, and that joins some of them into small groups of which each class has enough.
    """
    for end in _ENDS:
        pattern = rf"([^/]+?)(?:{end})?{_SUFFIX}"
        found = [re.search(pattern, video.path) for video in videos]
        has_end = re.compile(end + _SUFFIX)
        if not all(found) or 2 * sum(has_end.search(video.path) is not None for video in videos) < len(videos):
            continue
        groups = [match[1] for match in found if match]
        sizes = Counter(groups)
        of_class: dict[str, set[str]] = defaultdict(set)
        num_videos = Counter(video.labels[0] for video in videos)
        for video, group in zip(videos, groups, strict=True):
            of_class[video.labels[0]].add(group)
        has_enough = all(len(names) >= min(_FEWEST_GROUPS, num_videos[label]) for label, names in of_class.items())
        if len(sizes) < len(videos) and has_enough and max(sizes.values()) <= max(2, _LARGEST_SHARE * len(videos)):
            return pattern, len(sizes)
    return None, 0
