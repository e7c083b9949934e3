"""The tables of a data set's page."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path

import numpy as np

from dali_pipes.scan.summary import describe_pictures, kind_of
from dali_pipes.video_info import VideoInfo
from reskd.pages.tables import Cell, Table
from reskd.reports.dataset.videos import VideoSet

_CLASSES_SHOWN = 10
# Column title -> field of VideoInfo.
_KIND_COLUMNS = {
    "codec": "codec",
    "pixel format": "pix_fmt",
    "matrix": "matrix",
    "range": "color_range",
    "rotation, degrees": "rotation",
    "mirrored": "mirrored",
    "pixel aspect": "pixel_shape",
    "video streams": "num_video_streams",
}


def numbers(usable: Sequence[VideoInfo], distances: Mapping[Path, Sequence[int]]) -> Table:
    columns: dict[str, list[float]] = {
        "frames": [found.num_frames for found in usable],
        "short side, pixels": [min(found.width, found.height) for found in usable],
        "bytes a frame": [found.file_size / found.num_frames for found in usable],
        f"keyframe distance, packets ({len(distances)} files read)": [d for each in distances.values() for d in each],
    }
    rows = [
        (Cell(name), *(Cell(f"{value:.0f}", "number") for value in np.percentile(values, (0, 5, 50, 95, 100))))
        for name, values in columns.items()
    ]
    return Table("", ("of a video", "smallest", "5 %", "median", "95 %", "largest"), tuple(rows))


def kinds(usable: Sequence[VideoInfo]) -> tuple[Table, list[str]]:
    """The kinds of files, and sentences on pictures that are not stored as they are shown."""
    counts = Counter(map(attrgetter(*_KIND_COLUMNS.values()), usable))
    of_codec = Counter(found.codec for found in usable)
    ordered = sorted(counts.items(), key=lambda item: (-of_codec[item[0][0]], item[0][0], -item[1]))
    rows = tuple((*map(_cell, kind), Cell(f"{count}", "number")) for kind, count in ordered)
    return Table("", (*_KIND_COLUMNS, "videos"), rows), describe_pictures(usable)


def classes(name: str, labels: Sequence[str]) -> Table:
    """The videos of each class; of many classes, of the largest and the smallest."""
    counts = Counter(labels).most_common()
    shown = counts if len(counts) <= 2 * _CLASSES_SHOWN else [*counts[:_CLASSES_SHOWN], *counts[-_CLASSES_SHOWN:]]
    caption = f"{name}: {len(labels)} labels of {len(counts)} classes, {counts[-1][1]} to {counts[0][1]} each."
    if len(shown) < len(counts):
        caption += f" The {_CLASSES_SHOWN} largest and the {_CLASSES_SHOWN} smallest:"
    return Table(
        caption, ("class", "videos"), tuple((Cell(label), Cell(f"{count}", "number")) for label, count in shown)
    )


def health(videos: VideoSet) -> Table:
    """Counts by reason; the numbers of reasons are left out, so that equal damage is counted together."""
    examples: defaultdict[str, list[str]] = defaultdict(list)
    for path, found in videos.video_info.items():
        examples[kind_of(found.health)].append(videos.name(path))
    rows = [
        (Cell(reason), Cell(f"{len(names)}", "number"), Cell(names[0] if reason != "ok" else ""))
        for reason, names in sorted(examples.items(), key=lambda item: -len(item[1]))
    ]
    return Table("", ("health", "videos", "for example"), tuple(rows))


def whole_files(usable: Sequence[VideoInfo]) -> Table:
    """The reasons why files are decoded as a whole."""
    reasons = Counter(kind_of(found.whole_file) or "no: the packets it needs" for found in usable)
    rows = tuple((Cell(reason), Cell(f"{count}", "number")) for reason, count in reasons.most_common())
    return Table("", ("is the whole file read for a clip?", "videos"), rows)


def _cell(value: object) -> Cell:
    return Cell(("no", "yes")[value] if isinstance(value, bool) else str(value))
