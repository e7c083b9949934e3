"""Something-Something V2: labels.json, train.json, validation.json, test.json and test-answers.csv.

labels.json is {"Approaching something with your camera": "0", ...}. The lists are [{"id": "78687", "label": ...,
"template": "Holding [something] next to [something]", "placeholders": [...]}, ...]; a template without its square
brackets is a label. test.json has only ids; test-answers.csv, "1420;Throwing something", came later. Files are
<id>.webm. The lists were also called something-something-v2-train.json and so on. Sources: gen_json.py in
github.com/xingyul/cpnet; docs/new_dataset.md of github.com/hibana2077/TC-BombKD; the class numbers are those of
data/somethingv2/classInd.txt in github.com/mengyuest/AdaFuse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dali_pipes.annotations.published.base import (
    AnnotatedVideo,
    Annotations,
    read_json,
    read_lines,
    refusal,
    split_in_name,
)

_EXPECTED = "Something-Something V2's labels.json, train.json, validation.json, test.json or test-answers.csv"


def read_something_something_v2(paths: Sequence[Path]) -> Annotations:
    """Read the videos of the given lists, in their order.

    Raises:
        ValueError: labels.json is missing, a file is of another kind, or a template is not a label.
    """
    answers: dict[str, str] = {}
    numbers: dict[str, int] = {}
    lists: dict[Path, list[Any]] = {}
    for path in paths:
        if path.suffix.lower() == ".csv":
            answers |= _read_answers(path)
            continue
        tree = read_json(path, _EXPECTED)
        if isinstance(tree, dict) and tree and all(str(number).isdigit() for number in tree.values()):
            numbers |= {label: int(number) for label, number in tree.items()}
        elif isinstance(tree, list) and tree and isinstance(tree[0], dict) and "id" in tree[0]:
            lists[path] = tree
        else:
            raise refusal(path, _EXPECTED)
    if not numbers or not lists:
        raise ValueError(f"expected labels.json and at least one list of videos, found {', '.join(map(str, paths))}.")
    if sorted(numbers.values()) != list(range(len(numbers))):
        raise ValueError(f"labels.json: expected classes numbered 0 to {len(numbers) - 1}, found other numbers.")
    videos = tuple(_video(entry, path, numbers, answers) for path, tree in lists.items() for entry in tree)
    return Annotations(tuple(sorted(numbers, key=numbers.__getitem__)), videos)


def _read_answers(path: Path) -> dict[str, str]:
    pairs = [line.partition(";") for line in read_lines(path)]
    if not all(video_id.isdigit() and label for video_id, _, label in pairs):
        raise refusal(path, _EXPECTED)
    return {video_id: label.strip().strip('"') for video_id, _, label in pairs}


def _video(entry: Any, path: Path, numbers: Mapping[str, int], answers: Mapping[str, str]) -> AnnotatedVideo:
    split = split_in_name(path)
    if not isinstance(entry, dict) or not entry.get("id"):
        raise ValueError(f"{path}: expected entries with an id, found {str(entry)[:200]}.")
    video_id = str(entry["id"])
    label = str(entry.get("template") or answers.get(video_id, "")).replace("[", "").replace("]", "")
    if label and label not in numbers:
        raise ValueError(
            f"{path}: video {video_id} has the template {label!r}, which is none of the {len(numbers)} labels in "
            "labels.json; use files of one version."
        )
    return AnnotatedVideo((video_id,), split, (label,) if label else ())
