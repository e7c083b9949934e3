"""Times the study's networks from a record to its scores: the teacher and a student of each k, in one run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.fewer_frames.cases import Case
from benchmarks.inference.inference_benchmark import Candidate, measure_candidates
from dali_pipes.features.manifest import build_feature_manifests
from reskd.models.families.registry import build_recognizer

_BATCH = 32
_UNUSED = "unused"  # a folder of runs is required, but nothing is run


def time_cases(cases: Sequence[Case], *, rounds: int) -> list[dict[str, object]]:
    """Rows of ``inference_benchmark``, for the teacher and the baselines with uniform frames of the first seed."""
    rows: list[dict[str, object]] = []
    for data, family in dict.fromkeys((case.data.name, case.family) for case in cases):
        own = [case for case in cases if (case.data.name, case.family, case.seed) == (data, family, cases[0].seed)]
        wanted = [
            case for case in own if case.mode == "teacher" or (case.mode, case.selection) == ("baseline", "uniform")
        ]
        found = _measure(wanted, rounds)
        rows += [{"data": data, "family": family, **row} for row in found]
    return rows


def _measure(cases: Sequence[Case], rounds: int) -> list[dict[str, object]]:
    configs = [case.config(Path(_UNUSED)) for case in cases]
    manifest = build_feature_manifests(configs[0].features, seed=0, splits=("test",))["test"]
    candidates = []
    for case, config in zip(cases, configs, strict=True):
        model = build_recognizer(config.student, len(manifest.class_names))
        candidates.append(Candidate("all" if case.k is None else f"k={case.k}", config.features, model))
    device = torch.device("cpu")
    rows = measure_candidates(candidates, manifest, batch_size=_BATCH, rounds=rounds, device=device)
    return [row.as_columns() for row in rows]
