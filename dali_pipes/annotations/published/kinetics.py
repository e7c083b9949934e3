"""Kinetics: CSV with label,youtube_id,time_start,time_end,split[,is_cc].

Sources: the CSVs in github.com/activitynet/ActivityNet, Crawler/Kinetics/data, whose download.py names the clips
<id>_<start, 6 digits>_<end, 6 digits>.mp4; its test CSV has no column "label". Other copies call validation "validate".
The official order of the classes is alphabetical (minik_classInd.txt of AdaFuse is a sorted subset).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dali_pipes.annotations.published.base import AnnotatedVideo, Annotations, Split, read_csv

COLUMNS = ("youtube_id", "time_start", "time_end", "split")
_SPLITS: dict[str, Split] = {
    "train": "train",
    "val": "val",
    "validate": "val",
    "validation": "val",
    "test": "test",
}
_NUM_CLASSES = 400


def read_kinetics400(paths: Sequence[Path]) -> Annotations:
    """Read all videos of the CSVs; a test CSV without labels gives videos without labels.

    Raises:
        ValueError: a file of another kind, or a line without an id, times or a known split.
    """
    videos = read_kinetics_csvs(paths)
    names = sorted({label for video in videos for label in video.labels})
    odd = f"the CSVs name {len(names)} classes, Kinetics-400 has {_NUM_CLASSES}"
    return Annotations(tuple(names), tuple(videos), (odd,) if len(names) != _NUM_CLASSES else ())


def read_kinetics_csvs(paths: Sequence[Path]) -> list[AnnotatedVideo]:
    """Read the videos of several CSVs, in the order of the files and lines."""
    return [
        _video(row, f"{path}, line {number}")
        for path in paths
        for number, row in enumerate(read_csv(path, COLUMNS, "a Kinetics CSV"), start=2)
    ]


def _video(row: Mapping[str, str], where: str) -> AnnotatedVideo:
    video_id, split = row["youtube_id"], _SPLITS.get(row["split"].lower())
    if not video_id or split is None:
        raise ValueError(f"{where}: expected a youtube_id, and train, val or test as split, found {dict(row)}.")
    try:
        start, end = (int(float(row[name])) for name in ("time_start", "time_end"))
    except ValueError:
        raise ValueError(f"{where}: expected seconds in time_start and time_end, found {dict(row)}.") from None
    label = row.get("label", "")
    names = (f"{video_id}_{start:06d}_{end:06d}", video_id)
    return AnnotatedVideo(names, split, (label,) if label else (), video_id)
