"""Evaluated models without a training: their results, scores and curves, as reskd evaluate leaves them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reskd.reports.experiment.data import Experiment, Model, Role
from reskd.statistics.metrics import metrics_of
from reskd.statistics.pairs import top5_of
from reskd.statistics.predictions import Predictions
from reskd.statistics.score_files import ScoredVideos, write_score_file

ODD_CLASS, ODD_VIDEO = "<b>$x$ & \"6\" | 'x'</b>", "a/<img src=http://x onerror=y>caf\udce9\n.mp4"


def predictions(
    strength: float,
    seed: int,
    *,
    num_videos: int = 60,
    num_classes: int = 8,
    group_size: int = 2,
    several: bool = False,
) -> Predictions:
    """Random logits plus ``strength`` for the true class."""
    labels_N = np.arange(num_videos) // group_size % num_classes
    logits_NK = np.random.default_rng(seed).normal(size=(num_videos, num_classes)).astype(np.float32)
    logits_NK[np.arange(num_videos), labels_N] += strength
    videos = tuple(ODD_VIDEO if row == 0 else f"a/{row:06}.mp4" for row in range(num_videos))
    groups = tuple(f"g{row // group_size}" for row in range(num_videos))
    sets_NK = None
    if several:
        sets_NK = np.eye(num_classes, dtype=bool)[labels_N]
        sets_NK[::3, 0] = True
    return Predictions(videos, groups, labels_N, logits_NK, sets_NK)


def class_names(count: int) -> tuple[str, ...]:
    return (ODD_CLASS, *(f"class {number}" for number in range(1, count)))


def result_of(name: str, scored: Predictions, **changes: Any) -> dict[str, Any]:
    metrics = metrics_of(scored)
    if not scored.is_of_label_sets:
        metrics["top5"] = top5_of(scored)
    number = len(scored.videos)
    return {
        "name": name,
        "which": "student",
        "split": "test",
        "checkpoint": "last.pt",
        "num_steps": 100,
        "manifest_hash": "abc",
        "protocol": "1 clip",
        "views": {"clips": 1, "crops": 1, "average": "probabilities"},
        "coverage": {"listed": number + 1, "scored": number, "named": []},
        "metrics": metrics,
        "gmacs_per_video": 1.0,
        "videos_per_second": 50.0,
        "num_parameters": 3_400_000,
        "input_shape": [4, 112, 112],
        "command": f"reskd evaluate x.yaml runs/{name}/last.pt",
        "environment": {"cpu": "a <cpu>", "python": "3.11", "versions": {"torch": "2.15"}, "gpu": {"names": []}},
    } | changes


def model(role: Role, name: str, scored: Predictions, *, keeps_scores: bool = True, **changes: Any) -> Model:
    curves: Mapping[str, Any] = {
        "loss/task": ((1.0, 2.0), (2.0, 1.0)),
        "val/top1": ((1.0, 0.2), (2.0, 0.4), (3.0, 0.6)),
        "val/log_loss": ((1.0, float("nan")), (2.0, 0.9)),
    }
    names = class_names(scored.num_classes)
    videos = ScoredVideos(scored, names, {"gone.mp4": "bad: no frame"}) if keeps_scores else None
    return Model(role, Path("runs") / name, result_of(name, scored, **changes), videos, curves, None)


def experiment(
    student: float = 3.0, baseline: float = 1.0, teacher: float = 4.0, *, with_roles: Sequence[str] = (), **options: Any
) -> Experiment:
    """A student, a baseline and a teacher, each as good as its number says; or those of ``with_roles``."""
    found = [
        model("teacher", "x.teacher", predictions(teacher, 0, **options), gmacs_per_video=8.0),
        model("baseline", "x.baseline", predictions(baseline, 1, **options)),
        model("student", "x.student", predictions(student, 2, **options)),
    ]
    return Experiment("x", tuple(one for one in found if not with_roles or one.role in with_roles))


def write_model(folder: Path, name: str, scored: Predictions, **changes: Any) -> Path:
    """Write what an evaluation of a run leaves; returns the file of the result."""
    run = folder / name
    run.mkdir(parents=True, exist_ok=True)
    result = result_of(name, scored, **changes)
    path = run / f"evaluation_{result['split']}_{result['which']}_{Path(result['checkpoint']).stem}.json"
    path.write_text(json.dumps(result))
    write_score_file(ScoredVideos(scored, class_names(scored.num_classes), {}), path.with_suffix(".scores.npz"))
    (run / "metrics.jsonl").write_text('{"step": 1, "train/epoch": 1.0, "loss/task": 2.0}\n')
    return path
