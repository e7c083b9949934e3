"""A study of seconds on feature files: a teacher, a baseline and a student, over two seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from reskd.study.config import StudyConfig, load_study
from tests.reskd.feature_files import experiment, write_features


def write_study(folder: Path, **changes: Any) -> Path:
    """Write the features, ``arms.yaml`` and ``study.yaml``; ``changes`` replaces keys of the study."""
    write_features(folder)
    arms = experiment(folder, folder / "runs")
    arms["data"]["val_fraction"] = 0.4
    arms["stages"] = [
        {"name": "teacher", "data": {"views": {"student": {"num_frames": None}}}},
        {"name": "baseline"},
        {
            "name": "student",
            "data": {"views": {"teacher": {}}},
            "teacher": {"stage": "stage:teacher", "batch_norm": "batch_stats"},
            "loss": {"embedding": {"alpha": 1}, "prediction": {"alpha": 1}},
        },
    ]
    (folder / "arms.yaml").write_text(yaml.safe_dump(arms))
    study = {
        "name": "tiny",
        "config": "arms.yaml",
        "runs": str(folder / "runs"),
        "axes": {"seed": [1, 2]},
        "repeat": "seed",
        "compare": [{"arm": "student", "over": "baseline"}],
        "recovery": [{"student": "student", "baseline": "baseline", "teacher": "teacher"}],
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study | changes, sort_keys=False))
    return path


def tiny_study(folder: Path, **changes: Any) -> StudyConfig:
    return load_study(write_study(folder, **changes))
