"""Compare annotations with the existing files: found videos, missing videos and irregularities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dali_pipes.annotations.published.base import SPLITS, AnnotatedVideo, Annotations, Split
from dali_pipes.annotations.published.video_files import VideoFiles

# A video in two splits stays in the one that comes first here, so that test sets stay complete.
_WHO_GIVES_WAY: tuple[Split, ...] = ("test", "val", "train")


class FoundVideo(NamedTuple):
    """A video with the path of its file under the root."""

    path: str
    video: AnnotatedVideo


class MissingVideo(NamedTuple):
    """A video without a file, and the reason."""

    video: AnnotatedVideo
    reason: str


@dataclass
class Coverage:
    """Found and missing videos of each split, and irregularities by kind with their examples."""

    found: dict[Split, list[FoundVideo]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    missing: dict[Split, list[MissingVideo]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    num_unlabeled: Counter[Split] = field(default_factory=Counter)
    odd: dict[str, list[str]] = field(default_factory=dict)

    def num_listed(self, split: Split) -> int:
        return len(self.found[split]) + len(self.missing[split])

    def share(self, split: Split) -> float:
        """Found videos over listed ones, in [0, 1]."""
        return len(self.found[split]) / self.num_listed(split)

    def splits(self) -> list[Split]:
        """Splits with labeled videos."""
        return [split for split in SPLITS if self.num_listed(split)]

    def note(self, kind: str, example: str) -> None:
        self.odd.setdefault(kind, []).append(example)


def match(annotations: Annotations, files: VideoFiles) -> Coverage:
    """Match each labeled video to its file: no video and no file twice, in the order of the annotations."""
    coverage, listed, taken, named = Coverage(), dict[str, AnnotatedVideo](), dict[str, AnnotatedVideo](), set[str]()
    for video in sorted(annotations.videos, key=lambda video: _WHO_GIVES_WAY.index(video.split)):
        paths = files.find(video)
        named.update(paths)
        if not video.labels:
            coverage.num_unlabeled[video.split] += 1
            continue
        first = listed.setdefault(video.names[0], video)
        if first is not video:
            coverage.note(_kind_of_repetition(first, video), video.names[0])
            continue
        if len(paths) > 1:
            coverage.note("videos have several files; the first was taken", ", ".join(paths))
        if not paths:
            coverage.missing[video.split].append(MissingVideo(video, "no file of this name"))
        elif paths[0] in taken:
            reason = f"its file {paths[0]} is listed as {taken[paths[0]].names[0]}"
            coverage.missing[video.split].append(MissingVideo(video, reason))
        else:
            taken[paths[0]] = video
            coverage.found[video.split].append(FoundVideo(paths[0], video))
    if files.num_files > len(named):
        coverage.odd[f"{files.num_files - len(named)} files are in no annotation"] = []
    return coverage


def _kind_of_repetition(first: AnnotatedVideo, video: AnnotatedVideo) -> str:
    if first.split != video.split:
        return f"videos are in two splits; kept in {first.split}, left out of {video.split}"
    if set(first.labels) != set(video.labels):
        return f"videos of {video.split} are listed twice with different labels; the first was taken"
    return f"videos of {video.split} are listed twice; the second was left out"


def describe_coverage(coverage: Coverage, *, num_classes_shown: int = 5) -> Iterator[str]:
    """Human-readable lines."""
    for split in coverage.splits():
        yield (
            f"{split}: {coverage.num_listed(split)} listed, {len(coverage.found[split])} found "
            f"({coverage.share(split):.1%}), {len(coverage.missing[split])} missing"
        )
        for name, lacking, listed in most_affected(coverage, split, num_classes_shown):
            yield f"  {name}: {lacking} of {listed} missing"
    for split, count in coverage.num_unlabeled.items():
        yield f"{split}: {count} videos have no published label and are in no list"
    for kind, examples in coverage.odd.items():
        yield f"{len(examples)} {kind}; for example {examples[0]}" if examples else kind


def most_affected(coverage: Coverage, split: Split, count: int) -> Sequence[tuple[str, int, int]]:
    """(class, missing, listed) of the classes with the largest share missing."""
    lacking = Counter(label for missing in coverage.missing[split] for label in missing.video.labels)
    listed = lacking + Counter(label for found in coverage.found[split] for label in found.video.labels)
    order = sorted(lacking, key=lambda name: (-lacking[name] / listed[name], -lacking[name], name))
    return [(name, lacking[name], listed[name]) for name in order[:count]]


def refuse_nothing_found(coverage: Coverage, files: VideoFiles, root: Path) -> None:
    """Raise ValueError, with example names, if no video of the annotations was found."""
    if any(coverage.found.values()):
        return
    wanted = [missing.video.names[0] for videos in coverage.missing.values() for missing in videos]
    if not wanted:
        raise ValueError("expected videos with labels, found none in the annotations; give the training list too.")
    raise ValueError(
        f"expected files such as {wanted[0]} with any suffix under {root}, found {files.num_files} videos, but none of "
        f"those in the annotations; there are for example {', '.join(files.some_paths(3))}."
    )


def refuse_low_coverage(coverage: Coverage, least: float) -> None:
    """Raise ValueError if less than the fraction ``least`` of a split's videos was found."""
    low = [f"{split} {coverage.share(split):.1%}" for split in coverage.splits() if coverage.share(split) < least]
    if low:
        raise ValueError(
            f"expected at least {least:.1%} of each split's videos (--min-coverage), found {', '.join(low)}; "
            "missing.csv lists the others."
        )
