"""ActivityNet 1.3: activity_net.v1-3.min.json.

{"version": ..., "taxonomy": [...], "database": {id: {"subset": "training" | "validation" | "testing", "annotations":
[{"segment": [start, end], "label": name}, ...], ...}}}; files are v_<id> with any suffix. The subset "testing" has no
annotations. Source: Evaluation/eval_classification.py of github.com/activitynet/ActivityNet; the file itself was not
available, and public loaders look for v_<id>. That code numbers classes as they occur, so there is no official order;
here they are sorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dali_pipes.annotations.published.base import AnnotatedVideo, Annotations, Split, read_json, refusal

_EXPECTED = 'an ActivityNet annotation file (activity_net.v1-3.min.json, with "database")'
_SUBSETS: dict[str, Split] = {"training": "train", "validation": "val", "testing": "test"}


def read_activitynet(paths: Sequence[Path]) -> Annotations:
    """Read all videos; each label of a video's segments counts once, in the order of the segments.

    Raises:
        ValueError: several files, or a file of another kind.
    """
    if len(paths) != 1:
        raise ValueError(f"expected one file, {_EXPECTED}, found {len(paths)} files.")
    tree = read_json(paths[0], _EXPECTED)
    if not isinstance(tree, dict) or not isinstance(tree.get("database"), dict) or not tree["database"]:
        raise refusal(paths[0], _EXPECTED)
    videos = tuple(_video(video_id, entry, paths[0]) for video_id, entry in tree["database"].items())
    return Annotations(tuple(sorted({label for video in videos for label in video.labels})), videos)


def _video(video_id: str, entry: Any, path: Path) -> AnnotatedVideo:
    try:
        split = _SUBSETS[entry["subset"]]
        labels = tuple(dict.fromkeys(str(segment["label"]) for segment in entry["annotations"]))
    except (KeyError, TypeError):
        raise ValueError(
            f"{path}: expected {video_id} to have a subset (training, validation or testing) and annotations with "
            f"labels, found {str(entry)[:200]}."
        ) from None
    return AnnotatedVideo((f"v_{video_id}", video_id), split, labels, video_id)
