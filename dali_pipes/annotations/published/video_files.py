"""Find the video files under a folder by name, whatever its subfolders are called."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path, PurePosixPath

from dali_pipes.annotations.file_walk import files_below
from dali_pipes.annotations.lists import VIDEO_SUFFIXES
from dali_pipes.annotations.published.base import AnnotatedVideo


class VideoFiles:
    """An index of the video files under ``root``: those that scanning and transcoding the folder find, too.

    Raises:
        ValueError: no such folder, or no video in it.
    """

    def __init__(self, root: Path) -> None:
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        self.num_files = 0
        if not root.is_dir():
            raise ValueError(f"--videos: expected a folder of videos, found nothing at {root}.")
        for path in sorted(files_below(root).files):
            stem, dot, suffix = path.rpartition("/")[2].rpartition(".")
            if stem and f"{dot}{suffix}".lower() in VIDEO_SUFFIXES:
                self._by_stem[stem].append(path)
                self.num_files += 1
        if not self.num_files:
            raise ValueError(f"{root}: expected videos ({', '.join(sorted(VIDEO_SUFFIXES))}), found none.")

    def find(self, video: AnnotatedVideo) -> list[str]:
        """Paths under the root that may be this video, the likeliest first.

        Files are found by name. Among files of one name, the order depends on their folders: those in the annotation,
        then those named like a label (with spaces or underscores), then those named like the split.
        """
        for name in video.names:
            wanted = PurePosixPath(name)
            found = self._by_stem.get(wanted.name)
            if found and len(found) == 1:
                return found
            if found:
                labels = {_plain(label) for label in video.labels}
                return sorted(found, key=lambda path: (*_mismatches(path, wanted, labels, video.split), path))
        return []

    def some_paths(self, count: int) -> list[str]:
        """The first ``count`` paths, for messages."""
        return [paths[0] for _, paths in zip(range(count), self._by_stem.values(), strict=False)]


def _mismatches(path: str, wanted: PurePosixPath, labels: set[str], split: str) -> tuple[bool, bool, bool]:
    folders = PurePosixPath(path).parts[:-1]
    begins = wanted.parts[:-1]
    return (
        folders[len(folders) - len(begins) :] != begins,
        not any(_plain(folder) in labels for folder in folders),
        not any(split in folder.lower() for folder in folders),
    )


def _plain(name: str) -> str:
    return re.sub(r"[\s_]+", " ", name).strip().lower()
