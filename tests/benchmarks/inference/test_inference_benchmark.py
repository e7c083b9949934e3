"""Answering videos from records: every part of every candidate is timed."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.inference.inference_benchmark import PARTS, Candidate, measure_candidates, write_noise_records
from dali_pipes.features.config import FeatureDataConfig
from dali_pipes.features.manifest import build_feature_manifests
from reskd.models.config import parse_recognizer
from reskd.models.families.registry import build_recognizer


def test_every_part_of_every_candidate_has_a_row_that_compares_it_with_the_first(tmp_path: Path) -> None:
    groups = {"rgb": 64}
    write_noise_records(tmp_path / "a.tfrecord", groups, num_videos=8, num_frames=200)
    settings = {"kind": "features", "root": tmp_path, "train": "a.tfrecord", "test": "a.tfrecord", "num_classes": 5}
    data = {
        k: FeatureDataConfig.model_validate(
            {**settings, "groups": groups, "max_frames": 200, "views": {"student": {"num_frames": k}}}
        )
        for k in (None, 5)
    }
    aggregator = {"kind": "h_rnn", "block_length": 5, "hidden_dim": 64}
    config = {"family": "features", "groups": groups, "aggregator": aggregator, "classifier": {"kind": "linear"}}
    model = build_recognizer(parse_recognizer(config), 5)
    manifest = build_feature_manifests(data[None], seed=0, splits=("test",))["test"]
    candidates = [Candidate(str(k), data[k], model) for k in (None, 5)]
    rows = measure_candidates(candidates, manifest, batch_size=4, rounds=3, device=torch.device("cpu"))
    found = {(row.candidate, row.part): row for row in rows}
    assert set(found) == {(name, part) for name in ("None", "5") for part in PARTS}
    assert all(found["None", part].times_first == 1 for part in PARTS)
    assert all(row.times_first > 0 and row.cpu_times_first > 0 for row in rows)
