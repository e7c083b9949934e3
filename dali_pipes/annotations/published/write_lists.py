"""Write the found videos as our CSV lists, and make the config's lines for them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from dali_pipes.annotations.lists import LABEL_SEPARATOR
from dali_pipes.annotations.published.base import Annotations
from dali_pipes.annotations.published.coverage import Coverage
from dali_pipes.atomic_files import atomic_write_text


def write_lists(annotations: Annotations, coverage: Coverage, out: Path) -> list[Path]:
    """Write train.csv, val.csv and test.csv (if not empty), classes.txt and missing.csv to ``out``.

    Raises:
        ValueError: a class name that a list cannot contain.
    """
    bad = [name for name in annotations.class_names if LABEL_SEPARATOR in name or name != " ".join(name.split())]
    if bad:
        raise ValueError(f"expected class names without {LABEL_SEPARATOR!r} and stray spaces, found {bad[0]!r}.")
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for split, videos in coverage.found.items():
        if videos:
            rows = [(path, LABEL_SEPARATOR.join(video.labels), video.group or "") for path, video in videos]
            written.append(_write_csv(out / f"{split}.csv", [("path", "label", "group"), *rows]))
    lacking = [
        (split, video.names[0], LABEL_SEPARATOR.join(video.labels), reason)
        for split, videos in coverage.missing.items()
        for video, reason in videos
    ]
    written.append(_write_csv(out / "missing.csv", [("split", "name", "label", "reason"), *lacking]))
    written.append(_write_csv(out / "classes.txt", [(name,) for name in annotations.class_names], plain=True))
    return written


def config_lines(coverage: Coverage, videos: Path, out: Path, *, flips: bool) -> str:
    """Make the YAML of an experiment on these lists."""
    several = any(len(video.labels) > 1 for found in coverage.found.values() for _, video in found)
    tested = next((split for split in ("val", "test") if coverage.found[split]), None)
    train = _from_root(out / "train.csv", videos) if coverage.found["train"] else "?   # import the training list too"
    lines = ["data:", f"  root: {videos}", f"  train: {train}"]
    if tested:
        lines.append(f"  test: {_from_root(out / f'{tested}.csv', videos)}")
    lines.append(f"  classes: {_from_root(out / 'classes.txt', videos)}")
    lines.append("  val_fraction: 0.02   # held out of train.csv to choose best.pt")
    if not flips:
        lines.append("  sampling: {flip_probability: 0}   # left and right are parts of the labels")
    if several:
        lines.append("loss: {task: sigmoid_bce}   # several labels per video; the paper's code uses random_label_ce")
        lines.append("training: {selection_metric: map}")
    return "\n".join(lines)


def _from_root(path: Path, root: Path) -> str:
    path, root = path.resolve(), root.resolve()
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _write_csv(path: Path, rows: Iterable[Sequence[str]], *, plain: bool = False) -> Path:
    text = io.StringIO(newline="")
    if plain:
        text.writelines(f"{row[0]}\n" for row in rows)
    else:
        csv.writer(text, lineterminator="\n").writerows(rows)
    atomic_write_text(path, text.getvalue(), errors="surrogateescape")
    return path
